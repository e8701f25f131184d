//go:build unix

package testkit

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// logTail is how many of a program's last lines a failed test prints.
const logTail = 40

// Build compiles a command of this module, static, into a file that is there until the end of the
// test.
func Build(t testing.TB, pkg string, flags ...string) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), path.Base(pkg))
	cmd := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"build", "-o", program}, flags, []string{pkg})...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", pkg, err, out)
	}
	return program
}

// Process is a program that runs beside a test, which ends it at its end, and with it whatever it
// has started.
type Process struct {
	Log Buffer // what it has written

	cmd   *exec.Cmd
	ended chan struct{}
}

// Start runs a program. Its group is its own. A failed test prints the end of its log.
func Start(t testing.TB, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = &p.Log, &p.Log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // how it ended is for the test to judge by what it does
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			lines := strings.Split(strings.TrimSpace(p.Log.String()), "\n")
			t.Logf("the end of the log of %s:\n%s", name, strings.Join(lines[max(0, len(lines)-logTail):], "\n"))
		}
	})
	return p
}

// PID is its process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended is closed once it has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Scheduled is how long its threads have had a processor so far, and how long they have waited for
// one. A thread that has ended no longer counts.
func (p *Process) Scheduled(t testing.TB) (ran, waited time.Duration) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.PID()))
	if err != nil || len(threads) == 0 {
		t.Fatalf("threads of %d: %v, %v", p.PID(), threads, err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			continue // it has just ended
		}
		var had, lacked time.Duration // nanoseconds
		if _, err := fmt.Sscan(string(text), (*int64)(&had), (*int64)(&lacked)); err != nil {
			t.Fatalf("%s: %v", thread, err)
		}
		ran, waited = ran+had, waited+lacked
	}
	return ran, waited
}

// Kill ends it as a crash does, with its whole group, and returns once it is gone.
func (p *Process) Kill() {
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // it may have ended already
	<-p.ended
}

var nextPort atomic.Int64

// FreePort returns a port that was free a moment ago, below those that the kernel gives to
// connections, for programs that do not say which one they took.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 500 {
		port := 15000 + (int64(os.Getpid())*7+nextPort.Add(1)*13)%5000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			l.Close()
			return int(port)
		}
	}
	t.Fatal("no port is free")
	return 0
}
