package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// crash kills programs, all at the same moment, and returns that. The kernel is asked itself where
// the programs run on this machine: docker takes a while before it kills, and tells of the end a
// while after.
func (w *world) crash(victims ...program) time.Time {
	w.t.Helper()
	var kills []func() error
	for _, p := range victims {
		pid, err := p.pid()
		w.must("process of "+p.where().name, err)
		kill := func() error { return p.signal(syscall.SIGKILL) }
		if ours(pid) {
			kill = func() error { return syscall.Kill(pid, syscall.SIGKILL) }
		}
		kills = append(kills, kill)
	}
	began := time.Now()
	for i, kill := range kills {
		w.must("kill "+victims[i].where().name, kill())
	}
	return began
}

// ours says whether a process of this machine is one of the programs: docker may run on another
// one.
func ours(pid int) bool {
	file, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	name := filepath.Base(file)
	return err == nil && (name == "dynmesh" || name == "bare")
}
