package e2e

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// call is dynmesh as people and scripts run it: a process of this machine, whose environment is
// empty.
type call struct {
	t     *testing.T
	line  string
	said  lockedBuffer
	ended chan struct{} // closed once code and err are final
	code  int
	err   error
}

// begin starts a call. It is killed when the test is over.
func (w *world) begin(args ...string) *call {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &call{t: w.t, line: "dynmesh " + strings.Join(args, " "), ended: make(chan struct{})}
	cmd := w.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &c.said, &c.said
	w.must(c.line, cmd.Start())
	go func() {
		defer close(c.ended)
		c.code, c.err = ended(cmd.Wait())
	}()
	w.t.Cleanup(func() { cancel(); <-c.ended })
	return c
}

// ends waits for its end, and fails the test if it has another exit code, or has not printed all
// these words.
func (c *call) ends(code int, words ...string) {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(settled):
		c.t.Fatalf("%s: not ended within %v; it said %s", c.line, settled, &c.said)
	}
	if c.err != nil || c.code != code {
		c.t.Errorf("%s: got exit code %d, %v; want %d; it said %s", c.line, c.code, c.err, code, &c.said)
	}
	for _, word := range words {
		if !strings.Contains(c.said.String(), word) {
			c.t.Errorf("%s: it said %s, want %q in it", c.line, &c.said, word)
		}
	}
}

// print runs a call that ends by itself, and returns what it printed and its exit code. Any
// goroutine may call it.
func (w *world) print(ctx context.Context, args ...string) (out string, code int, err error) {
	text, err := w.command(ctx, args...).Output()
	code, err = ended(err)
	return string(text), code, err
}

func (w *world) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.dynmesh, args...)
	cmd.Env = []string{}
	return cmd
}

// ended tells an exit code from the errors of calls that have none.
func ended(err error) (code int, failed error) {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, err
}
