package swim

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/frame"
	"github.com/dynmesh/dynmesh/internal/timers"
)

const (
	// dialTimeout bounds every connect. memberlist would wait for 10 s, and what does not answer in
	// five is tried again.
	dialTimeout = 5 * time.Second
)

// transport carries memberlist's packets and streams, and the tripwires beside them. It knows all
// connections, so that they end when it does: memberlist's own do not.
type transport struct {
	network   Network
	listener  net.Listener
	packets   net.PacketConn
	advertise netip.AddrPort
	counters  Counters
	guard     *guard
	delegate  Delegate
	heard     atomic.Int64 // when something came last that others began, in Unix nanoseconds

	packetCh chan *memberlist.Packet
	streamCh chan net.Conn

	ctx    context.Context // ends with Shutdown
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	tracked   map[net.Conn]struct{}
	inbound   int // of tracked, those that others opened and that are no tripwires
	tripwires int // of tracked, those that others hold
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// newTransport binds. Nothing is accepted and nothing is read before start.
func newTransport(n Network, bind, advertise string, c Counters, g *guard, d Delegate) (*transport, error) {
	at, err := resolveBind(bind)
	if err != nil {
		return nil, err
	}
	t := &transport{
		network: n, counters: c, guard: g, delegate: d, packetCh: make(chan *memberlist.Packet), streamCh: make(chan net.Conn),
		tracked: make(map[net.Conn]struct{}),
	}
	t.listener, t.packets, err = n.Listen(at)
	if err != nil {
		return nil, &dynmesh.ConfigError{Config: "gossip", Field: "Bind", Err: err}
	}
	port := t.listener.Addr().(*net.TCPAddr).AddrPort().Port()
	t.advertise, err = resolveAdvertise(advertise, netip.AddrPortFrom(at.Addr(), port))
	if err != nil {
		t.listener.Close()
		_ = t.packets.Close()
		return nil, err
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t, nil
}

// local says whether other hosts are neither meant to reach it nor can. A port that is open to all
// is so whatever is advertised.
func (t *transport) local() bool {
	return t.advertise.Addr().IsLoopback() && t.listener.Addr().(*net.TCPAddr).IP.IsLoopback()
}

func (t *transport) start() {
	t.wg.Go(t.accept)
	t.wg.Go(t.receive)
}

// Shutdown closes everything and waits for the transport's goroutines. It may be called more than
// once.
func (t *transport) Shutdown() error {
	t.cancel()
	t.listener.Close()
	_ = t.packets.Close()
	t.mu.Lock()
	for c := range t.tracked {
		c.Close()
	}
	t.mu.Unlock()
	t.wg.Wait()
	return nil
}

// FinalAdvertiseAddr is for memberlist.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

// PacketCh is for memberlist.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packetCh }

// StreamCh is for memberlist.
func (t *transport) StreamCh() <-chan net.Conn { return t.streamCh }

func (t *transport) receive() {
	buf := make([]byte, frame.MaxPacket+1) // of what is longer, the kernel drops the rest
	for {
		n, from, err := t.packets.ReadFrom(buf)
		now := time.Now()
		switch {
		case t.ctx.Err() != nil:
			return
		case err != nil: // of one packet, such as an ICMP message about one that was sent; but do not spin
			if timers.Sleep(t.ctx, 5*time.Millisecond) != nil {
				return
			}
			continue
		case n == 0:
			continue
		}
		t.counters.Received("udp", n)
		t.heard.Store(now.UnixNano())
		message, memberlists := t.guard.admit(buf[:n], from, now)
		if message != nil {
			t.delegate.Receive(message)
		}
		if !memberlists {
			continue
		}
		p := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: from, Timestamp: now}
		select {
		case t.packetCh <- p:
		case <-t.ctx.Done():
			return
		}
	}
}

// WriteTo is for memberlist.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress is for memberlist.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	to, err := netip.ParseAddrPort(a.Addr)
	if err != nil {
		return time.Time{}, err
	}
	err = t.send(b, to)
	return time.Now(), err
}

func (t *transport) send(packet []byte, to netip.AddrPort) error {
	n, err := t.packets.WriteTo(packet, net.UDPAddrFromAddrPort(to))
	t.counters.Sent("udp", n)
	return err
}

// DialTimeout is for memberlist.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout is for memberlist, which sets no deadline where it sends a message over TCP: a
// member that is stopped would hold the sender for ever.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	deadline := time.Now().Add(timeout)
	ctx, cancel := context.WithTimeout(t.ctx, min(timeout, dialTimeout))
	defer cancel()
	conn, err := t.network.Dial(ctx, a.Addr)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(deadline); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if conn, err = t.track(conn, nil); err != nil {
		return nil, err
	}
	return t.guard.stream(conn, true), nil
}

// track notes a connection until it is closed; then it calls released, under the lock.
func (t *transport) track(conn net.Conn, released func()) (net.Conn, error) {
	c := &trackedConn{Conn: conn, transport: t, released: released}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		_ = conn.Close()
		if released != nil {
			released()
		}
		return nil, net.ErrClosed
	}
	t.tracked[conn] = struct{}{}
	return c, nil
}

// Conns counts connections.
type Conns struct {
	Inbound   int // that others opened and that are no tripwires
	Tripwires int // that others hold
	Total     int // with those that this process opened
}

func (t *transport) conns() Conns {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Conns{Inbound: t.inbound, Tripwires: t.tripwires, Total: len(t.tracked)}
}

// trackedConn is a connection that the transport knows of.
type trackedConn struct {
	net.Conn
	transport *transport
	released  func()
	once      sync.Once
}

func (c *trackedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.transport.counters.Received("tcp", n)
	return n, err
}

func (c *trackedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.transport.counters.Sent("tcp", n)
	if err != nil {
		_ = c.Close() // memberlist forgets to where its label cannot be written
	}
	return n, err
}

func (c *trackedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.transport.mu.Lock()
		defer c.transport.mu.Unlock()
		delete(c.transport.tracked, c.Conn)
		if c.released != nil {
			c.released()
		}
	})
	return err
}
