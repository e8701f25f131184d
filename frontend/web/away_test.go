package web_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/dynmesh/dynmesh/discovery/localetcd"
)

func frontendAway(t *testing.T, b browser) {
	m := newMesh(t)
	m.add(12, endpoints()...)
	m.settled()
	p := open(t, b, m.url(), desk())
	p.waits("#headline", "12 ready of 12 registered")
	m.stop()
	p.waits("#source-page", "frontend lost")
	p.waits("#banner", "The frontend does not answer. This picture is", "s old, of")
	p.waits("#headline", "12 ready of 12 registered") // as it was
	if got := eval[string](p, "document.title"); got != "(old) dynmesh" {
		t.Errorf("got the title %q", got)
	}
	p.waits("#banner", "This picture is 2 s old") // it counts on
	shows := func() int { return eval[int](p, `document.querySelectorAll('.cell').length`) }

	// The next one knows nothing at first: no moment may be seen in which the fleet seems to be
	// gone.
	eval[bool](p, `new MutationObserver(() => { if (document.querySelectorAll('.cell').length === 0) document.body.dataset.gone = 'yes'; })
		.observe(document.body, {subtree: true, childList: true}) ?? true`)
	m.start()
	m.vouch()
	p.waits("#source-page", "live")
	eventually(t, "no banner", func() bool { return p.text("#banner") == "" })
	m.workers[4].frozen()
	p.waits(".trouble.notready", "gpu-004")
	if shows() != 12 || eval[string](p, `document.body.dataset.gone ?? ''`) != "" {
		t.Errorf("got %d cells, want 12 all the time", shows())
	}
	p.quiet()
}

// A frontend that has just started, and cannot read the registry, knows less than the page does.
func bothAway(t *testing.T, b browser) {
	m := newMesh(t)
	m.add(12, endpoints()...)
	m.settled()
	p := open(t, b, m.url(), desk())
	p.waits("#headline", "12 ready of 12 registered")
	m.stop()
	if err := m.server.Close(); err != nil {
		t.Fatal(err)
	}
	m.start()
	p.waits("#banner", "The frontend has started anew and has not read the registry yet. This picture is of before")
	p.waits("#source-registry", "registry: not read yet")
	p.waits("#headline", "12 ready of 12 registered")
	p.waits("#empty", "The registry has not been read yet") // not for ever
	p.quiet()
}

func cablePulled(t *testing.T, b browser) {
	m := newMesh(t)
	m.add(3, endpoints()...)
	m.settled()
	c := newCable(t, fmt.Sprintf("127.0.0.1:%d", m.port))
	p := open(t, b, "http://"+c.listener.Addr().String()+"/", desk())
	p.waits("#headline", "3 ready of 3 registered")
	c.pull()
	m.workers[1].frozen()
	p.waits("#banner", "The frontend does not answer.") // though no connection has ended
	c.plug()
	p.waits(".trouble.notready", "gpu-001")
	eventually(t, "no banner", func() bool { return p.text("#banner") == "" })
	p.quiet()
}

func etcdAway(t *testing.T, b browser) {
	m := newMesh(t)
	m.add(6, endpoints()...)
	m.settled()
	p := open(t, b, m.url(), desk())
	p.waits("#source-registry", "registry: in sync")
	if err := m.server.Close(); err != nil {
		t.Fatal(err)
	}
	p.waits("#source-registry", "registry: last read ", " s ago")
	p.waits("#headline", "6 ready of 6 registered")
	p.waits("#notes", "etcd cannot be read since")
	m.workers[2].killed() // gossip tells without etcd
	p.waits(".trouble.unreachable", "gpu-002")
	before := p.text("#source-registry")
	eventually(t, "a higher age", func() bool { return p.text("#source-registry") != before })
	p.quiet()
}

func etcdNever(t *testing.T, b browser) {
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil { // its address is one where nobody answers
		t.Fatal(err)
	}
	m := &mesh{t: t, server: server}
	m.start()
	t.Cleanup(func() { m.stop() })
	p := open(t, b, m.url(), desk())
	p.waits("#empty", "The registry has not been read yet", "ETCD_ENDPOINTS")
	p.waits("#source-registry", "registry: not read yet")
	p.quiet()
}

// cable is a way to the frontend that can be pulled: connections stay open, and nothing comes
// through.
type cable struct {
	listener net.Listener
	target   string
	done     context.Context

	mu      sync.Mutex
	through chan struct{} // closed while bytes pass
}

func newCable(t *testing.T, target string) *cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done, cancel := context.WithCancel(context.Background())
	c := &cable{listener: listener, target: target, done: done, through: make(chan struct{})}
	close(c.through)
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() { c.join(near) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		tasks.Wait()
	})
	return c
}

func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.through = make(chan struct{})
}

func (c *cable) plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.through)
}

func (c *cable) join(near net.Conn) {
	far, err := net.Dial("tcp", c.target)
	if err != nil {
		_ = near.Close()
		return
	}
	both := func() { _, _ = near.Close(), far.Close() }
	defer context.AfterFunc(c.done, both)()
	var ways sync.WaitGroup
	ways.Go(func() { c.carry(far, near); both() })
	ways.Go(func() { c.carry(near, far); both() })
	ways.Wait()
}

func (c *cable) carry(to io.Writer, from io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		c.mu.Lock()
		through := c.through
		c.mu.Unlock()
		select {
		case <-through:
		case <-c.done.Done():
			return
		}
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}
