//go:build unix

package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait for a process.
const patience = 30 * time.Second

func startAs(ctx context.Context, t *testing.T, act string) (*Process, error) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Start(ctx, program, nil, []string{actsAs + "=" + act})
}

func (p *Process) ended(t *testing.T) {
	t.Helper()
	select {
	case <-p.Ended():
	case <-time.After(patience):
		t.Fatal("the process is still there")
	}
}

func TestProcess(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*testing.T, *Process) error
		want string // how it ended, by Err
		code string // by the system
	}{
		{"ends in order", func(*testing.T, *Process) error { return nil }, "exit code 0: a phantom says something", "exit status 0"},
		{"is killed", func(t *testing.T, p *Process) error { defer p.ended(t); return p.Kill() }, "", "signal: killed"},
		{"is frozen", func(_ *testing.T, p *Process) error { return p.Freeze() }, "", "signal: killed"},
		{"crashes", func(t *testing.T, p *Process) error { defer p.ended(t); return p.Order("crash") }, "exit status 4: told to crash", "exit status 4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := startAs(t.Context(), t, "well")
			if err != nil {
				t.Fatal(err)
			}
			if p.ID() != 0x694d9b90ff8deb4b || p.Err() != nil {
				t.Errorf("got ID %s, error %v", p.ID(), p.Err())
			}
			if err := errors.Join(tt.do(t, p), p.Close()); err != nil {
				t.Error(err)
			}
			if got := fmt.Sprint(p.Err()); got != tt.want && (tt.want != "" || p.Err() != nil) {
				t.Errorf("got %s, want %q", got, tt.want)
			}
			if got := p.cmd.ProcessState.String(); got != tt.code {
				t.Errorf("got %q, want %q", got, tt.code)
			}
		})
	}
}

// What does not become a phantom is ended, and the error says what it said.
func TestProcessThatIsNone(t *testing.T) {
	for act, want := range map[string]string{
		"garbage": `start a phantom: it says "usage: something else": `,
		"crash":   "start a phantom: exit status 3: no etcd",
		"silent":  "start a phantom: too late",
	} {
		t.Run(act, func(t *testing.T) {
			within := patience
			if act == "silent" {
				within = time.Second
			}
			ctx, cancel := context.WithTimeoutCause(t.Context(), within, errors.New("too late"))
			defer cancel()
			p, err := startAs(ctx, t, act)
			if p != nil || err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, %v, want %s", p, err, want)
			}
		})
	}
	if _, err := Start(t.Context(), "/nowhere/dynmesh", nil, nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}
