package swim

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/frame"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// Config configures a [Node]. All but Keyring and Network must be given.
type Config struct {
	Name      string                      // of the member; nobody else's, ever
	Meta      func(netip.AddrPort) []byte // what others are told of it, who reach it there: 512 bytes at most
	Bind      string                      // host:port to listen at, over TCP and UDP
	Advertise string                      // where others reach it, host or host:port; empty: the address that Bind names, or one of the host's
	Label     string                      // keeps meshes apart that reach each other by accident
	Keyring   *Keyring                    // nil: as Unencrypted
	Network   Network                     // nil: the host's
	Delegate  Delegate
	Counters  Counters
	Log       *logrus.Entry

	// Incarnations is the highest incarnation that a member of the name can have reached by then; nil:
	// any. A member refutes 20 claims in a second at most.
	Incarnations func(name string, now time.Time) int64
}

// Delegate is told what happens. It is called from many goroutines, mostly while memberlist holds
// its locks: so it must not call the node, nor wait. What it is given it may keep.
type Delegate interface {
	// Receive takes a message, which came by whatever way.
	Receive(message []byte)

	// PeerChanged takes a member that has come, has changed, or, with alive false, has left or is
	// given up.
	PeerChanged(p Peer, alive bool)

	// Signal takes what memberlist has noticed of a member.
	Signal(name string, s Signal)

	// TripwireOpened is called when a member has opened a tripwire to this one.
	TripwireOpened()

	// Admit returns an error for a member that is not to be let in, however it came.
	Admit(p Peer) error

	// Broadcasts returns messages for a packet in which they, and overhead bytes more for each,
	// have to fit limit bytes.
	Broadcasts(overhead, limit int) [][]byte

	// State returns the message that a push/pull carries. The other side receives it.
	State() []byte
}

// Counters count for metrics.
type Counters interface {
	Reject(reason string) // something that came and was not taken in
	Received(network string, bytes int)
	Sent(network string, bytes int)
}

// Peer is a member as memberlist knows it.
type Peer struct {
	Name string
	Addr netip.AddrPort // of its gossip
	Meta []byte
}

func (p Peer) node() *memberlist.Node {
	return &memberlist.Node{Name: p.Name, Addr: p.Addr.Addr().AsSlice(), Port: p.Addr.Port()}
}

const (
	delegateVersion = 2 // what members say is signed

	// packetSize keeps packets whole on networks within networks, as QUIC's 1,200 bytes do.
	packetSize = 1200
)

// Node is this process in memberlist. Its methods may be called from any goroutine, before, while
// and after it runs.
type Node struct {
	cfg       Config
	transport *transport
	log       *logAdapter
	list      atomic.Pointer[memberlist.Memberlist] // nil before Start
}

// Listen binds the node's sockets, so that Addr is true from then on. Nothing is read before Start.
func Listen(cfg Config) (*Node, error) {
	if cfg.Keyring.Empty() {
		return nil, dynmesh.NewConfigError("gossip", "Keyring", nil, "one that this package has made")
	}
	if cfg.Network == nil {
		cfg.Network = Sockets{}
	}
	adapter := &logAdapter{log: cfg.Log, reject: cfg.Counters.Reject, signal: cfg.Delegate.Signal}
	var keys *frame.Keys
	if cfg.Keyring.encrypts() {
		keys = frame.NewKeys(cfg.Keyring.ring.GetKeys)
	}
	g := newGuard(cfg.Label, keys, func(line string) { _, _ = adapter.Write([]byte(line)) })
	g.claims.self, g.claims.most = cfg.Name, cfg.Incarnations
	t, err := newTransport(cfg.Network, cfg.Bind, cfg.Advertise, cfg.Counters, g, cfg.Delegate)
	if err != nil {
		return nil, err
	}
	return &Node{cfg: cfg, transport: t, log: adapter}, nil
}

// Start begins to serve others. It must be followed by Shutdown, also when it fails, as it does
// where there is to be a key and is none yet.
func (n *Node) Start() error {
	if n.cfg.Keyring.encrypts() && len(n.cfg.Keyring.ring.GetKeys()) == 0 {
		return errors.New("there is no key") // memberlist would go on in the clear
	}
	n.transport.start()
	list, err := memberlist.Create(n.memberlistConfig())
	if err != nil {
		return err
	}
	n.list.Store(list)
	return nil
}

func (n *Node) memberlistConfig() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = n.cfg.Name
	c.Transport = n.transport
	c.AdvertiseAddr, c.AdvertisePort = n.Addr().Addr().String(), int(n.Addr().Port())
	c.BindAddr, c.BindPort = c.AdvertiseAddr, c.AdvertisePort
	c.Label = n.cfg.Label
	c.RequireNodeNames = false // an address from etcd has none
	c.UDPBufferSize = packetSize
	c.EnableCompression = false
	c.DelegateProtocolMin, c.DelegateProtocolMax, c.DelegateProtocolVersion = delegateVersion, delegateVersion, delegateVersion
	if n.cfg.Keyring.encrypts() {
		c.Keyring = n.cfg.Keyring.ring
	}
	c.Logger = log.New(n.log, "", 0)
	d := &delegate{Delegate: n.cfg.Delegate, counters: n.cfg.Counters, meta: n.cfg.Meta(n.Addr())}
	c.Delegate, c.Events, c.Alive, c.Ping = d, d, d, d
	return c
}

// Addr is where others reach the node.
func (n *Node) Addr() netip.AddrPort { return n.transport.advertise }

// Port is where the node listens, whatever is advertised.
func (n *Node) Port() int { return n.transport.listener.Addr().(*net.TCPAddr).Port }

// Conns counts the connections that there are now.
func (n *Node) Conns() Conns { return n.transport.conns() }

// Heard is when a packet or a connection of others came in last; before the first: 1970.
func (n *Node) Heard() time.Time { return time.Unix(0, n.transport.heard.Load()) }

// Local says whether other hosts are neither meant to reach the node nor can.
func (n *Node) Local() bool { return n.transport.local() }

// Join does a push/pull with whoever is at the address. It takes seconds where nobody is.
func (n *Node) Join(addr string) error {
	list := n.list.Load()
	if list == nil {
		return net.ErrClosed
	}
	_, err := list.Join([]string{addr})
	return err
}

// Send sends a packet. A packet that is lost is everyday, and no error. It is as memberlist makes
// them, whose own way makes a cipher anew for each.
func (n *Node) Send(to Peer, b []byte) {
	if n.list.Load() != nil {
		_ = n.transport.send(n.transport.guard.rules.Message(b), to.Addr)
	}
}

// SendReliable sends a message over TCP. It takes seconds where nobody answers.
func (n *Node) SendReliable(to Peer, b []byte) error {
	list := n.list.Load()
	if list == nil {
		return net.ErrClosed
	}
	return list.SendReliable(to.node(), b)
}

// Score is memberlist's opinion of this process: 0 is well.
func (n *Node) Score() int {
	if list := n.list.Load(); list != nil {
		return list.GetHealthScore()
	}
	return 0
}

// Dial connects to anything in the node's network.
func (n *Node) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return n.transport.network.Dial(ctx, addr)
}

// OpenTripwire connects to a member's gossip and asks it to hold the connection, which ends when
// either process does. It is the caller's to close.
func (n *Node) OpenTripwire(ctx context.Context, addr string) (net.Conn, error) {
	return n.transport.openTripwire(ctx, addr)
}

// Leave says good-bye, and returns when enough others have been told, or all have gone, or the time
// is over. memberlist's own Leave waits too, but members that leave together would wait for each
// other in vain.
func (n *Node) Leave(within time.Duration) {
	const interval, width = 200 * time.Millisecond, 3 // memberlist's gossip
	list := n.list.Load()
	if list == nil {
		return
	}
	_ = list.Leave(time.Nanosecond)
	others := list.NumMembers()
	if others == 0 {
		return
	}
	packets := 4 * math.Ceil(math.Log10(float64(others+2)))
	rounds := 1 + int(math.Ceil(packets/float64(min(width, others))))
	for deadline := time.Now().Add(min(within, time.Duration(rounds)*interval)); list.NumMembers() > 0; {
		if left := time.Until(deadline); left <= 0 || timers.Sleep(context.Background(), min(interval/4, left)) != nil {
			return
		}
	}
}

// Shutdown closes everything and waits for the node's goroutines. Where a probe of memberlist is
// under way, one goroutine of it may outlive Shutdown for some seconds; it touches nothing.
func (n *Node) Shutdown() error {
	if list := n.list.Load(); list != nil {
		if err := list.Shutdown(); err != nil {
			return fmt.Errorf("memberlist: %w", err)
		}
		return nil
	}
	return n.transport.Shutdown()
}
