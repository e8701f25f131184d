package testkit

import (
	"net"
	"sync"
	"testing"
)

// Network stands between a client and a server. Cut off, it goes silent as a broken network does:
// connections stay open, and nothing passes.
type Network struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	open  chan struct{} // closed while traffic may pass
	conns map[net.Conn]struct{}
	done  sync.WaitGroup
}

// StartNetwork returns a network before the server at target, host:port, until the test ends.
func StartNetwork(t testing.TB, target string) *Network {
	t.Helper()
	return StartNetworkAt(t, "127.0.0.1:0", target)
}

// StartNetworkAt is the same, for clients elsewhere: it listens at a host:port.
func StartNetworkAt(t testing.TB, addr, target string) *Network {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	n := &Network{listener: listener, target: target, open: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	close(n.open)
	n.done.Go(n.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		n.Heal()
		n.Reset()
		n.done.Wait()
	})
	return n
}

// Addr returns the host:port for clients.
func (n *Network) Addr() string { return n.listener.Addr().String() }

// Refuse refuses all connections from now on. Those that are open stay.
func (n *Network) Refuse() { _ = n.listener.Close() }

// Cut has nothing pass any more.
func (n *Network) Cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.open:
		n.open = make(chan struct{})
	default:
	}
}

// Heal ends Cut.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.open:
	default:
		close(n.open)
	}
}

// Reset drops every connection.
func (n *Network) Reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		_ = c.Close()
	}
	clear(n.conns)
}

func (n *Network) accept() {
	for {
		near, err := n.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", n.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		n.mu.Lock()
		n.conns[near], n.conns[far] = struct{}{}, struct{}{}
		n.mu.Unlock()
		n.done.Go(func() { n.pipe(near, far) })
		n.done.Go(func() { n.pipe(far, near) })
	}
}

func (n *Network) pipe(from, to net.Conn) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buf := make([]byte, 32<<10)
	for {
		k, err := from.Read(buf)
		n.mu.Lock()
		open := n.open
		n.mu.Unlock()
		<-open
		if k > 0 {
			if _, err := to.Write(buf[:k]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Accepts says whether a connection is accepted at an address.
func Accepts(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
