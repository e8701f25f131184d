package e2e

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// A gate stands between one process and one etcd server, on loopback, where there is no cable to
// pull. While it is shut it does what a cut cable does: connections stay open, bytes stop, new
// connections get no answer. What was on its way arrives when it opens again.
type gate struct {
	listener net.Listener
	target   string
	done     context.Context
	tasks    sync.WaitGroup

	mu   sync.Mutex
	open chan struct{} // closed while traffic may pass; replaced by an open channel when the gate is shut
}

func newGate(t *testing.T, target string) *gate {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("gate to %s: %v", target, err)
	}
	done, cancel := context.WithCancel(context.Background())
	g := &gate{listener: listener, target: target, done: done, open: make(chan struct{})}
	close(g.open)
	g.tasks.Go(g.serve)
	t.Cleanup(func() {
		cancel()
		listener.Close()
		g.tasks.Wait()
	})
	return g
}

func (g *gate) addr() string { return g.listener.Addr().String() }

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.open:
		g.open = make(chan struct{})
	default:
	}
}

func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.open:
	default:
		close(g.open)
	}
}

// pass returns once the gate is open, or false when it is taken down.
func (g *gate) pass() bool {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		return true
	case <-g.done.Done():
		return false
	}
}

func (g *gate) serve() {
	for {
		near, err := g.listener.Accept()
		if err != nil {
			return
		}
		g.tasks.Go(func() { g.relay(near) })
	}
}

func (g *gate) relay(near net.Conn) {
	defer near.Close()
	if !g.pass() {
		return
	}
	far, err := (&net.Dialer{}).DialContext(g.done, "tcp", g.target)
	if err != nil {
		return
	}
	defer far.Close()
	defer context.AfterFunc(g.done, func() { near.Close(); far.Close() })()
	var both sync.WaitGroup
	both.Go(func() { g.copy(far, near) })
	both.Go(func() { g.copy(near, far) })
	both.Wait()
}

// copy moves bytes one way, and then closes both ends: half-closed connections are not worth
// imitating here.
func (g *gate) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && g.pass() {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = errors.Join(err, werr)
			}
		}
		if err != nil {
			// The end of a connection does not cross a cut cable either.
			if errors.Is(err, io.EOF) {
				g.pass()
			}
			to.Close()
			from.Close()
			return
		}
	}
}
