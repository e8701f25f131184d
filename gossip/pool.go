package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/dynmesh/dynmesh"
)

// leaveTimeout is how long a member that ends goes on telling others so.
const leaveTimeout = 2 * time.Second

// Pool is this process's membership in the mesh. Its methods may be called from any goroutine, before, while and after it
// runs, and none but Run and Close waits for anything.
type Pool struct {
	cfg       Config
	self      dynmesh.Observer
	metrics   *metrics
	transport *transport
	inbox     *inbox
	outbox    *outbox
	updates   *updates
	contacts  *contacts
	quick     *sender // pings and pongs over TCP
	bulk      *sender
	loop      *loop
	joiner    *joiner // nil before Run
	started   atomic.Bool
	listen    sync.Once
	list      atomic.Pointer[memberlist.Memberlist] // nil before Run
}

// NewPool binds the pool's sockets, so that Addr is true from then on. It must be followed by Run or by Close.
func NewPool(cfg Config) (*Pool, error) { return newPool(cfg, sockets{}) }

func newPool(cfg Config, n network) (*Pool, error) {
	cfg, err := cfg.settle()
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	p := &Pool{
		cfg: cfg, metrics: newMetrics(), outbox: &outbox{}, updates: newUpdates(),
		self: dynmesh.Observer{ID: cfg.ID, Epoch: uint64(time.Now().UnixMilli())},
	}
	p.transport, err = newTransport(n, cfg.Bind, cfg.Advertise, p.metrics)
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	p.inbox = newInbox(p.metrics)
	p.transport.holds = p.inbox.look
	p.contacts = newContacts(p.Addr())
	p.quick, p.bulk = newSender("pings", 256, p.metrics), newSender("bulk", 256, p.metrics)
	p.loop = newLoop(p)
	return p, nil
}

// Run joins the mesh, and again whenever it is alone or cut off, until ctx ends. Then it leaves, which takes 2 s at most, and
// returns when all is stopped. That others are away is never an error. It may be called once; with a ctx that has ended it does
// no more than Close.
//
// Where a probe of memberlist is under way, one goroutine of it may outlive Run for some seconds; it touches nothing.
func (p *Pool) Run(ctx context.Context) error {
	if !p.started.CompareAndSwap(false, true) {
		return errors.New("gossip: a Pool runs once")
	}
	if ctx.Err() != nil {
		return p.transport.Shutdown() // there is nothing to leave
	}
	p.transport.start()
	list, err := memberlist.Create(p.memberlistConfig())
	if err != nil {
		return errors.Join(fmt.Errorf("gossip: %w", err), p.transport.Shutdown())
	}
	p.list.Store(list)
	p.cfg.Log.WithField("addr", p.Addr()).Info("Gossip started")
	if p.cfg.Keyring == nil && !p.transport.local() {
		p.cfg.Log.WithField("addr", p.Addr()).Warn("Gossip has no key: whoever reaches this address can read it, and claim anything of any worker")
	}

	p.joiner = &joiner{
		ctx: ctx, names: p.cfg.Join, seeds: p.cfg.Seeds, contacts: p.contacts, looked: p.inbox.looked, log: p.cfg.Log, underWay: make(map[string]struct{}),
		join: func(addr string) error {
			_, err := list.Join([]string{addr})
			return err
		},
	}

	// What serves others goes on until this member has left.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var serve, seek sync.WaitGroup
	p.quick.start(serving, 8, list.SendReliable)
	p.bulk.start(serving, 4, list.SendReliable)
	serve.Go(func() { p.loop.run(serving) })
	if p.cfg.Keyring != nil {
		serve.Go(func() { p.cfg.Keyring.follow(serving, p.cfg.Log) })
	}
	seek.Go(p.joiner.run)

	<-ctx.Done()
	begun := time.Now()
	seek.Wait()
	p.inbox.leave(dynmesh.Report{
		Subject: dynmesh.Subject{ID: p.self.ID}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true, At: begun,
	})
	p.leave(list)
	stop()
	serve.Wait()
	err = list.Shutdown() // with all connections
	p.joiner.wait()
	p.quick.wait()
	p.bulk.wait()
	p.loop.dialer.Stop() // a loop that ended otherwise has not
	p.loop.dialer.Wait()
	p.cfg.Log.WithField("dur", time.Since(begun)).Info("Left the mesh")
	return err
}

// leave says good-bye, and returns when enough others have been told, or all have gone. memberlist's own Leave waits too, but
// members that leave together would wait for each other in vain.
func (p *Pool) leave(list *memberlist.Memberlist) {
	const interval, width = 200 * time.Millisecond, 3 // memberlist's gossip
	_ = list.Leave(time.Nanosecond)
	others := list.NumMembers()
	if others == 0 {
		return
	}
	packets := 4 * math.Ceil(math.Log10(float64(others+2)))
	rounds := 1 + int(math.Ceil(packets/float64(min(width, others))))
	for deadline := time.Now().Add(min(leaveTimeout, time.Duration(rounds)*interval)); list.NumMembers() > 0; {
		if left := time.Until(deadline); left <= 0 || !sleep(context.Background(), min(interval/4, left)) {
			return
		}
	}
}

// Close releases the sockets of a pool that never ran.
func (p *Pool) Close() error {
	if !p.started.CompareAndSwap(false, true) {
		return nil
	}
	return p.transport.Shutdown()
}

// Self is this life of this member.
func (p *Pool) Self() dynmesh.Observer { return p.self }

// Addr is host:port where others reach the pool.
func (p *Pool) Addr() string { return p.transport.advertise.String() }

// Watched returns a channel that is closed once the end of this process would be noticed at once: those
// who are to watch it do, or there is nobody else. It is closed a second after Run began in any case.
func (p *Pool) Watched() <-chan struct{} { return p.loop.introduction.watched }

// Observe tells the mesh what was found, in place of what was said of the same subject before. What table.Table.Observe
// would refuse is logged and told to nobody.
func (p *Pool) Observe(f dynmesh.Report) { p.inbox.observe(f.Subject, &f) }

// Withdraw takes back what was said of a subject.
func (p *Pool) Withdraw(s dynmesh.Subject) { p.inbox.observe(s, nil) }

// WatchForeign has frontends connect to an instance whose worker is no member, from time to time, and
// say what they find. addr is its host:port, in place of the one before; empty ends it.
func (p *Pool) WatchForeign(s dynmesh.Subject, addr string) { p.inbox.watchForeign(s, addr) }

// Changed returns a channel that has a value when Take has something. Nothing is kept for Take before the first call; the
// first updates after it have everything that is known.
func (p *Pool) Changed() <-chan struct{} {
	p.listen.Do(p.inbox.listen)
	return p.updates.changed
}

// Take returns what changed since it was last called: one goroutine may.
func (p *Pool) Take() dynmesh.GossipUpdate { return p.updates.take() }

func (p *Pool) memberlistConfig() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = nodeName(p.self)
	c.Transport = p.transport
	c.AdvertiseAddr, c.AdvertisePort = p.transport.advertise.Addr().String(), int(p.transport.advertise.Port())
	c.BindAddr, c.BindPort = c.AdvertiseAddr, c.AdvertisePort
	c.Label = p.cfg.Label
	c.RequireNodeNames = false // an address from etcd has none
	c.UDPBufferSize = packetSize
	c.EnableCompression = false
	c.DelegateProtocolMin, c.DelegateProtocolMax, c.DelegateProtocolVersion = delegateVersion, delegateVersion, delegateVersion
	if p.cfg.Keyring != nil {
		c.Keyring = p.cfg.Keyring.ring
	}
	c.Logger = log.New(&bridge{log: p.cfg.Log, metrics: p.metrics, notice: p.inbox.notice}, "", 0)
	d := &delegate{
		inbox: p.inbox, metrics: p.metrics, outbox: p.outbox,
		meta: encodeMeta(dynmesh.Member{Role: p.cfg.Role, Service: p.cfg.Service, LeaseTTL: p.cfg.LeaseTTL, Version: p.cfg.Version}),
	}
	c.Delegate, c.Events, c.Alive, c.Ping = d, d, d, d
	return c
}

const (
	delegateVersion = 1

	// packetSize keeps packets whole on networks within networks, as QUIC's 1,200 bytes do.
	packetSize = 1200
)

// send sends a packet. An error is a lost packet, and those are everyday.
func (p *Pool) send(to *memberlist.Node, b []byte) {
	if list := p.list.Load(); list != nil {
		_ = list.SendBestEffort(to, b)
	}
}

// score is memberlist's opinion of this process: 0 is well.
func (p *Pool) score() int {
	if list := p.list.Load(); list != nil {
		return list.GetHealthScore()
	}
	return 0
}

// nodeAt makes a node of an observer and an address, for sending.
func nodeAt(o dynmesh.Observer, addr string) (memberlist.Node, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return memberlist.Node{}, err
	}
	return memberlist.Node{Name: nodeName(o), Addr: at.Addr().AsSlice(), Port: at.Port()}, nil
}
