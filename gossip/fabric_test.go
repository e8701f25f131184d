package gossip

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/dynmesh/dynmesh/internal/timers"
)

// fabric is a network in memory, with faults. Everything in it takes the time of the bubble that it
// is used in.
type fabric struct {
	mu     sync.Mutex
	rng    *rand.Rand
	faults faults
	hosts  map[netip.Addr]*host
	sniff  func(from, to netip.AddrPort, packet []byte) // sees each packet; it must not change it
	dials  func(from *host) (ended func())              // sees each connection that is being made
}

// faults apply to everything that is sent from now on.
type faults struct {
	loss      float64 // of packets, in each direction; of connections, each lost packet costs time
	duplicate float64
	delay     time.Duration // one way
	jitter    time.Duration // added to it, so that packets overtake each other
}

// host is one machine with one process. It is the network of its pool.
type host struct {
	fabric  *fabric
	addr    netip.Addr
	side    int    // hosts of different sides do not reach each other
	gone    bool   // nothing gets in or out
	paused  bool   // what comes in waits, and nothing goes out
	udpDown bool   // packets are lost, connections work
	cutPort uint16 // nothing gets in to this port or out of it
	ports   map[uint16]*port
	next    uint16
	conns   map[*memConn]struct{}
}

type port struct {
	host    *host
	at      netip.AddrPort
	packets chan packet
	accepts chan *memConn
	done    chan struct{}
	once    sync.Once
}

type packet struct {
	from netip.AddrPort
	b    []byte
}

func newFabric(seed uint64) *fabric {
	return &fabric{rng: rand.New(rand.NewPCG(seed, 1)), hosts: make(map[netip.Addr]*host)}
}

// host returns the n-th host, which there is from then on.
func (f *fabric) host(n int) *host {
	f.mu.Lock()
	defer f.mu.Unlock()
	addr := hostAddr(n)
	h := f.hosts[addr]
	if h == nil {
		h = &host{fabric: f, addr: addr, ports: make(map[uint16]*port), next: 40000, conns: make(map[*memConn]struct{})}
		f.hosts[addr] = h
	}
	return h
}

func (f *fabric) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// cut puts hosts on a side of their own; 0 is where all are at first.
func (f *fabric) cut(side int, hosts ...*host) {
	f.set(func() {
		for _, h := range hosts {
			h.side = side
		}
	})
}

// kill ends the process of a host, as SIGKILL does: its kernel closes the connections, and refuses
// new ones. Who still runs there can neither send nor receive any longer; it is to be ended by its
// context.
func (h *host) kill() {
	h.fabric.mu.Lock()
	var conns []*memConn
	for c := range h.conns {
		conns = append(conns, c)
	}
	ports := make([]*port, 0, len(h.ports))
	for _, p := range h.ports {
		ports = append(ports, p)
	}
	h.fabric.mu.Unlock()
	for _, p := range ports {
		_ = p.close()
	}
	for _, c := range conns {
		c.reset()
	}
}

// blocked is called under the lock.
func (f *fabric) blocked(from, to *host) bool {
	return from.gone || to.gone || from.paused || from.side != to.side
}

// isCut is called under the lock.
func (h *host) isCut(at netip.AddrPort) bool {
	return h.addr == at.Addr() && h.cutPort != 0 && h.cutPort == at.Port()
}

func (f *fabric) chance(p float64) bool { return p > 0 && f.rng.Float64() < p }

func (f *fabric) latency() time.Duration {
	d := f.faults.delay
	if f.faults.jitter > 0 {
		d += time.Duration(f.rng.Int64N(int64(f.faults.jitter)))
	}
	return d
}

func (h *host) Listen(bind netip.AddrPort) (net.Listener, net.PacketConn, error) {
	h.fabric.mu.Lock()
	defer h.fabric.mu.Unlock()
	n := bind.Port()
	if n == 0 {
		h.next++
		n = h.next
	}
	if h.ports[n] != nil {
		return nil, nil, syscall.EADDRINUSE
	}
	p := &port{host: h, at: netip.AddrPortFrom(h.addr, n), packets: make(chan packet, 4096), accepts: make(chan *memConn, 256), done: make(chan struct{})}
	h.ports[n] = p
	return listener{p}, packetConn{p}, nil
}

func (p *port) close() error {
	p.once.Do(func() {
		p.host.fabric.mu.Lock()
		delete(p.host.ports, p.at.Port())
		p.host.fabric.mu.Unlock()
		close(p.done)
	})
	return nil
}

type listener struct{ *port }

func (l listener) Close() error   { return l.close() }
func (l listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }
func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepts:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

type packetConn struct{ *port }

func (c packetConn) Close() error                     { return c.close() }
func (c packetConn) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(c.at) }
func (c packetConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (c packetConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (c packetConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

func (c packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		select {
		case p := <-c.packets:
			for c.held() {
				select {
				case <-time.After(50 * time.Millisecond):
				case <-c.done:
					return 0, nil, net.ErrClosed
				}
			}
			return copy(b, p.b), net.UDPAddrFromAddrPort(p.from), nil
		case <-c.done:
			return 0, nil, net.ErrClosed
		}
	}
}

func (p *port) held() bool {
	p.host.fabric.mu.Lock()
	defer p.host.fabric.mu.Unlock()
	return p.host.paused
}

func (c packetConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	select {
	case <-c.done:
		return 0, net.ErrClosed
	default:
	}
	f := c.host.fabric
	to := addr.(*net.UDPAddr).AddrPort()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sniff != nil {
		f.sniff(c.at, to, append([]byte(nil), b...))
	}
	dest := f.hosts[to.Addr()]
	if dest == nil || f.blocked(c.host, dest) || c.host.udpDown || dest.udpDown || c.host.isCut(c.at) || dest.isCut(to) {
		return len(b), nil
	}
	for n := 0; n == 0 || n < 3 && f.chance(f.faults.duplicate); n++ {
		if !f.chance(f.faults.loss) {
			f.deliver(packet{c.at, append([]byte(nil), b...)}, to, f.latency())
		}
	}
	return len(b), nil
}

// deliver is called under the lock.
func (f *fabric) deliver(p packet, to netip.AddrPort, after time.Duration) {
	arrive := func() {
		if at := f.hosts[to.Addr()].ports[to.Port()]; at != nil {
			select {
			case at.packets <- p:
			default: // its buffer is full
			}
		}
	}
	if after == 0 {
		arrive()
		return
	}
	time.AfterFunc(after, func() { f.set(arrive) })
}

// inject has a packet arrive that nobody here has sent.
func (f *fabric) inject(from, to netip.AddrPort, b []byte) {
	f.set(func() { f.deliver(packet{from, b}, to, 0) })
}

func (h *host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	f := h.fabric
	f.mu.Lock()
	dials := f.dials
	f.mu.Unlock()
	if dials != nil {
		defer dials(h)()
	}
	for wait := time.Second; ; wait *= 2 {
		f.mu.Lock()
		dest := f.hosts[to.Addr()]
		lost := dest == nil || f.blocked(h, dest) || dest.isCut(to) || f.chance(f.faults.loss) || f.chance(f.faults.loss)
		trip := f.latency() + f.latency()
		f.mu.Unlock()
		if lost {
			if timers.Sleep(ctx, wait) != nil {
				return fail(os.ErrDeadlineExceeded)
			}
			continue
		}
		if trip > 0 && timers.Sleep(ctx, trip) != nil {
			return fail(os.ErrDeadlineExceeded)
		}
		f.mu.Lock()
		p := dest.ports[to.Port()]
		if p == nil {
			f.mu.Unlock()
			return fail(syscall.ECONNREFUSED)
		}
		h.next++
		mine, theirs := newConns(h, dest, netip.AddrPortFrom(h.addr, h.next), to)
		f.mu.Unlock()
		select {
		case p.accepts <- theirs:
			return mine, nil
		case <-p.done:
			return fail(syscall.ECONNREFUSED)
		case <-ctx.Done():
			return fail(os.ErrDeadlineExceeded)
		}
	}
}
