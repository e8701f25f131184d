package engines

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// engine is a real inference engine at one address, which may be started more than once.
type engine struct {
	*testkit.Process
	owner   *testing.T // at whose end it is killed
	name    string
	model   string
	root    string        // its base URL, without /v1
	command []string      // the program and its arguments
	env     []string      // besides the PATH
	startup time.Duration // how long it may take until it answers
	parts   parts
	longest int // tokens of the longest answer

	running func(t *testing.T) int // how many requests it works on
	notices time.Duration          // how often it looks whether the client of a request without a stream is there
}

// parts finds the processes of an engine by what they do.
type parts func(server int) map[string]int

// start runs it, and returns once it says that it is well.
func (e *engine) start(t *testing.T) {
	t.Helper()
	e.run()
	e.awaitWell(t)
}

// run starts it, and does not wait.
func (e *engine) run() {
	e.owner.Helper()
	cmd := exec.Command(e.command[0], e.command[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.owner.TempDir()}, e.env...)
	e.Process = testkit.Start(e.owner, e.name, cmd)
}

// awaitWell returns once it says that it is well.
func (e *engine) awaitWell(t *testing.T) {
	t.Helper()
	client := newAsker()
	began := time.Now()
	for e.says(t.Context(), client) != "200" {
		select {
		case <-e.Ended():
			t.Fatalf("%s ended before it answered", e.name)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(began) > e.startup {
			t.Fatalf("%s does not answer within %v", e.name, e.startup)
		}
	}
}

// at is the engine as it is reached at another address.
func (e *engine) at(root string) *engine {
	there := *e
	there.root = root
	return &there
}

// says is the engine's own word on itself.
func (e *engine) says(ctx context.Context, client *http.Client) string {
	status, _ := get(ctx, client, e.root+"/health")
	return status
}

// signal sends a signal to one of its processes.
func (e *engine) signal(t *testing.T, part string, sig syscall.Signal) {
	t.Helper()
	pid, ok := e.parts(e.PID())[part]
	if !ok {
		t.Fatalf("%s has no %s: %v", e.name, part, e.parts(e.PID()))
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("send %v to the %s of %s: %v", sig, part, e.name, err)
	}
}

// descendants returns the processes below one, each with its name.
func descendants(of int) map[int]string {
	parents, names := map[int]int{}, map[int]string{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state parent …; the name may hold anything
		line := string(text)
		open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
		if open < 0 || end < open {
			continue
		}
		fields := strings.Fields(line[end+1:])
		pid, err1 := strconv.Atoi(strings.TrimSpace(line[:open]))
		parent, err2 := strconv.Atoi(fields[1])
		if errors.Join(err1, err2) == nil {
			parents[pid], names[pid] = parent, line[open+1:end]
		}
	}
	below := map[int]string{}
	for pid := range parents {
		for up := parents[pid]; up > 1; up = parents[up] {
			if up == of {
				below[pid] = names[pid]
				break
			}
		}
	}
	return below
}

// word says in a word why there is no answer.
func word(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case os.IsTimeout(err):
		return "timeout"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	default:
		return fmt.Sprintf("no answer (%v)", err)
	}
}
