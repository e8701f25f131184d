package attack

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// jumpy is what time.Now of a program becomes whose wall clock is so many seconds off as the file
// says that $DYNMESH_CLOCK names. It looks each 20 ms. Nothing on this machine has its clock set;
// and what a C library's clock says, Go's does not ask for.
const jumpy = `package time

import (
	"sync/atomic"
	"syscall"
)

var jumped atomic.Int64

func init() {
	name, _ := syscall.Getenv("DYNMESH_CLOCK")
	if name == "" {
		return
	}
	look := func() {
		fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		defer syscall.Close(fd)
		var b [32]byte
		n, _ := syscall.Read(fd, b[:])
		by, sign := int64(0), int64(1)
		for i := 0; i < n; i++ {
			switch c := b[i]; {
			case c == '-':
				sign = -1
			case '0' <= c && c <= '9':
				by = 10*by + int64(c-'0')
			}
		}
		jumped.Store(sign * by)
	}
	go func() {
		for {
			look()
			Sleep(20 * Millisecond)
		}
	}()
}
`

// withJumpyClock compiles dynmesh with such a clock.
func withJumpyClock(t *testing.T) (program string) {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	own, err := os.ReadFile(filepath.Join(at, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if !strings.Contains(string(own), now) {
		t.Fatal("time.Now of this Go is another: change this test")
	}
	dir := t.TempDir()
	files := map[string]string{
		filepath.Join(at, "time.go"): strings.Replace(string(own), now, now+"\tsec += jumped.Load()\n", 1),
		filepath.Join(at, "jump.go"): jumpy,
	}
	overlay := map[string]map[string]string{"Replace": {}}
	for replaced, content := range files {
		with := filepath.Join(dir, filepath.Base(replaced))
		if err := os.WriteFile(with, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay["Replace"][replaced] = with
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh", "-overlay", file, "-tags", "noetcd,noxds,nokubernetes")
}

// TestClock: wall clocks that jump, those of a frontend and of one of two workers, change no
// verdict: neither on those whose clock it is nor on others; leases are kept, canaries go on, and
// what ends afterwards is found as ever.
func TestClock(t *testing.T) {
	if os.Getenv("DYNMESH_ATTACK") == "" {
		t.Skip("make attack runs it")
	}
	r := newRig(t, withJumpyClock(t))
	file := filepath.Join(t.TempDir(), "clock")
	jump := func(by time.Duration) {
		t.Helper()
		aside := file + ".new"
		if err := os.WriteFile(aside, []byte(strconv.Itoa(int(by/time.Second))), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(aside, file); err != nil {
			t.Fatal(err)
		}
	}
	jump(0)
	r.startFrontend("", "DYNMESH_CLOCK="+file)
	right := r.startWorker("")
	wrong := r.startWorker("", "DYNMESH_CLOCK="+file)
	r.allReady()
	for _, by := range []time.Duration{time.Hour, -time.Hour, 0} {
		jump(by)
		canaries := passes(wrong)
		r.steady("clocks are "+by.String()+" off", func() bool { return passes(wrong) > canaries+2 })
	}
	for _, process := range []*testkit.Process{r.frontend, right.Process, wrong.Process} {
		if log := process.Log.String(); strings.Contains(log, "Lease is gone") || strings.Contains(log, "cannot be kept up") || strings.Contains(log, "is stale") {
			t.Errorf("a lease or the registry was lost:\n%s", log)
		}
	}
	jump(time.Hour)
	r.notices(right)
}
