package drill

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

const (
	closeWithin = 5 * time.Second // an orderly end; then it is killed
	maxSaid     = 4 << 10         // of what a phantom has logged last, in bytes
)

// Process is a phantom that is a child of this process. It writes its instance's ID in hex and a
// line end to its stdout once it is registered, takes orders from its stdin, one a line, and ends
// where that ends. One goroutine may use it.
type Process struct {
	id     dynmesh.InstanceID
	cmd    *exec.Cmd
	orders io.WriteCloser
	said   tail
	done   chan struct{} // closed once it has been waited for
	err    error         // how it ended, once done is closed

	killed bool // it cannot end in order
}

// Start starts a program as a phantom, and returns once it is registered. env is besides what this
// process has.
func Start(ctx context.Context, path string, args, env []string) (*Process, error) {
	p := &Process{cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	first := &firstLine{line: make(chan string, 1)}
	p.cmd.Stdout, p.cmd.Stderr = first, &p.said
	p.cmd.WaitDelay = time.Second
	apart(p.cmd)
	var err error
	if p.orders, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start a phantom: %w", err)
	}
	started := make(chan error)
	go p.run(started) // Close joins it
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("start a phantom: %w", err)
	}
	select {
	case line := <-first.line:
		if p.id, err = dynmesh.ParseInstanceID(line); err == nil {
			return p, nil
		}
		err = fmt.Errorf("it says %q: %w", text.Line(line, 100), err)
	case <-p.done:
		err = p.Err()
	case <-ctx.Done():
		err = context.Cause(ctx)
		if last := p.said.last(); last != "" && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("%w; it says: %s", err, last)
		}
	}
	return nil, fmt.Errorf("start a phantom: %w", errors.Join(err, p.Close()))
}

// run starts the process and waits for it. Where the kernel ends a child with its parent, it is the
// thread that counts as the parent: it has to be there for as long as the child.
func (p *Process) run(started chan<- error) {
	defer close(p.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
	}
}

// ID is that of its instance.
func (p *Process) ID() dynmesh.InstanceID { return p.id }

// Ended is closed once the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.done }

// Err says how the process ended that nobody has ended; nil while it runs, and after Kill, Freeze
// and Close.
func (p *Process) Err() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	if p.killed {
		return nil
	}
	how := "exit code 0"
	if p.err != nil {
		how = p.err.Error()
	}
	if last := p.said.last(); last != "" {
		how += ": " + last
	}
	return errors.New(how)
}

// Kill ends the process as a crash does.
func (p *Process) Kill() error {
	p.killed = true
	return p.cmd.Process.Kill()
}

// Freeze stops the process. It does not go on: Close kills it.
func (p *Process) Freeze() error {
	p.killed = true
	return freeze(p.cmd.Process)
}

// Order has the phantom do something with its engine.
func (p *Process) Order(o Order) error {
	_, err := io.WriteString(p.orders, string(o)+"\n")
	return err
}

// Close ends the process, in order where it can, and returns when it has.
func (p *Process) Close() error {
	_ = p.orders.Close() // which is the order to end
	if !p.killed {
		late := time.NewTimer(closeWithin)
		defer late.Stop()
		select {
		case <-p.done:
			return nil
		case <-late.C:
			p.killed = true
		}
	}
	err := p.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-p.done
	return err
}

// Obey has do carry out the orders that come to the process' stdin, and returns when there are no
// more, which is the end of the drill, or when ctx has ended.
func Obey(ctx context.Context, do func(Order) error) error {
	orders := stdin()
	stop := context.AfterFunc(ctx, func() { _ = orders.SetReadDeadline(time.Now()) })
	defer stop()
	lines := bufio.NewScanner(orders)
	for lines.Scan() {
		if err := do(Order(lines.Text())); err != nil {
			return err
		}
	}
	return nil
}

// firstLine hands over the first line that is written, and takes everything.
type firstLine struct {
	line chan string // with room for it
	part []byte
	told bool
}

// Write implements io.Writer.
func (f *firstLine) Write(b []byte) (int, error) {
	if f.told {
		return len(b), nil
	}
	f.part = append(f.part, b[:min(len(b), maxSaid)]...)
	if line, _, whole := bytes.Cut(f.part, []byte("\n")); whole || len(f.part) > maxSaid {
		f.told = true
		f.line <- string(line)
	}
	return len(b), nil
}

// tail keeps the end of what is written.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if more := len(t.kept) - maxSaid; more > 0 {
		t.kept = append(t.kept[:0], t.kept[more:]...)
	}
	return len(b), nil
}

// last returns the last line.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.kept)), "\n")
	return text.Line(lines[len(lines)-1], 500)
}
