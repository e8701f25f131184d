package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/identity"
	"github.com/dynmesh/dynmesh/gossip/swim"
	"github.com/dynmesh/dynmesh/internal/address"
)

// leaveTimeout is how long a member that ends goes on telling others so.
const leaveTimeout = 2 * time.Second

// Pool is this process's membership in the mesh. Its methods may be called from any goroutine,
// before, while and after it runs, and none but Run and Close waits for anything.
type Pool struct {
	cfg       Config
	via       *url.URL // of a frontend of Dynamo's that canaries go through; nil: there is none
	self      dynmesh.Observer
	metrics   *metrics
	node      *swim.Node
	inbox     *inbox
	exchange  *exchange
	refused   address.Noted // where nothing is sent, though others have named it
	updates   *updates
	addresses *addressBook
	pings     *swim.SendQueue // and pongs, over TCP
	syncs     *swim.SendQueue
	loop      *loop
	joiner    *joiner // nil before Run
	started   atomic.Bool
	listen    sync.Once
}

// keys are the table's.
type keys struct {
	*identity.Identity
	*identity.Verifier
}

// NewPool binds the pool's sockets, so that Addr is true from then on. It must be followed by Run
// or by Close.
func NewPool(cfg Config) (*Pool, error) { return newPool(cfg, swim.Sockets{Policy: cfg.Probe}, nil) }

func newPool(cfg Config, n swim.Network, belongs belongs) (*Pool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	p := &Pool{
		cfg: cfg, metrics: newMetrics(), updates: newUpdates(),
		self: dynmesh.Observer{ID: cfg.Identity.ID(), Epoch: uint64(time.Now().UnixMilli())},
	}
	if p.via, err = cfg.probeVia(); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	p.inbox = newInbox(p.metrics)
	p.exchange = &exchange{
		inbox: p.inbox, metrics: p.metrics, most: maxMembers, admission: newAdmission(belongs),
		self: memberName(p.self), policy: cfg.Probe, refused: &p.refused,
	}
	p.node, err = swim.Listen(swim.Config{
		Name: memberName(p.self),
		Meta: func(addr netip.AddrPort) []byte {
			return encodeMeta(cfg.Identity, memberName(p.self), addr, dynmesh.Member{
				Role: cfg.Role, Service: cfg.Service, LeaseTTL: cfg.LeaseTTL, Version: cfg.Version,
			})
		},
		Bind: cfg.Bind, Advertise: cfg.Advertise, Label: cfg.Label, Keyring: cfg.Keyring,
		Network: n, Delegate: p.exchange, Counters: p.metrics, Log: cfg.Log,
		Incarnations: maxIncarnation,
	})
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	p.addresses = newAddressBook(p.Addr())
	p.pings = swim.NewSendQueue(256, func() { p.metrics.drop("pings") })
	p.syncs = swim.NewSendQueue(256, func() { p.metrics.drop("bulk") })
	p.loop = newLoop(p, keys{cfg.Identity, identity.NewVerifier(belongs)})
	return p, nil
}

// keyTimeout is how long a member that has no key yet waits before it says so.
const keyTimeout = 5 * time.Second

// Run joins the mesh, and again whenever it is alone or cut off, until ctx ends. Then it leaves,
// which takes 2 s at most, and returns when all is stopped. Where the mesh's key is not known yet,
// it waits for it before it joins, and only watches foreign workers. That others are away is never
// an error. It may be called once; with a ctx that has ended it does no more than Close.
//
// Where a probe of memberlist is under way, one goroutine of it may outlive Run for some seconds;
// it touches nothing.
func (p *Pool) Run(ctx context.Context) error {
	if !p.started.CompareAndSwap(false, true) {
		return errors.New("gossip: a Pool runs once")
	}
	defer p.loop.introduction.close() // the loop has ended then, or never ran
	if ctx.Err() != nil {
		return p.node.Shutdown() // there is nothing to leave
	}
	p.joiner = newJoiner(ctx, p)

	// What serves others goes on until this member has left.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var serve, seek sync.WaitGroup
	p.pings.Start(serving, 8, p.node.SendReliable)
	p.syncs.Start(serving, 4, p.node.SendReliable)
	serve.Go(func() { p.loop.run(serving) })
	serve.Go(func() { p.cfg.Keyring.Follow(serving, p.cfg.Log) })
	began, failed := p.start(ctx)
	if began {
		seek.Go(p.joiner.run)
		<-ctx.Done()
	}
	begun := time.Now()
	seek.Wait()
	p.inbox.leave(dynmesh.Report{
		Subject: dynmesh.Subject{ID: p.self.ID}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true,
		At: begun,
	})
	p.node.Leave(leaveTimeout)
	stop()
	serve.Wait()
	err := errors.Join(failed, p.node.Shutdown()) // with all connections
	p.joiner.wait()
	p.pings.Wait()
	p.syncs.Wait()
	p.loop.dialer.Stop() // a loop that ended otherwise has not
	p.loop.dialer.Wait()
	if began {
		p.cfg.Log.WithField("dur", time.Since(begun)).Info("Left the mesh")
	}
	return err
}

// start has memberlist begin once there is a key, and says whether it has: not where ctx has ended.
func (p *Pool) start(ctx context.Context) (began bool, err error) {
	late := time.After(keyTimeout)
	for waiting := true; waiting; {
		select {
		case <-p.cfg.Keyring.Ready():
			waiting = false
		case <-late:
			p.inbox.begin(time.Time{})
			p.cfg.Log.WithField("err", cmp.Or(p.cfg.Keyring.Lacks(), "it has not been read yet")).
				Warn("Gossip waits for the key that the registry keeps: until then this member neither says nor hears anything")
		case <-ctx.Done():
			return false, nil
		}
	}
	if err := p.node.Start(); err != nil {
		return false, fmt.Errorf("gossip: %w", err)
	}
	p.inbox.begin(time.Now())
	p.cfg.Log.WithField("addr", p.Addr()).Info("Gossip started")
	if p.cfg.Keyring.Source() == dynmesh.KeyNone && !p.node.Local() {
		p.cfg.Log.WithField("addr", p.Addr()).
			Warn("Gossip has no key: whoever reaches this address can read it, and become a member")
	}
	return true, nil
}

// Close releases the sockets of a pool that never ran.
func (p *Pool) Close() error {
	if !p.started.CompareAndSwap(false, true) {
		return nil
	}
	return p.node.Shutdown()
}

// watchedNetwork is the node's, which takes note of what is not connected to, and why.
type watchedNetwork struct {
	*swim.Node
	refused *address.Noted
}

// Dial connects to what is to be watched.
func (n watchedNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := n.Node.Dial(ctx, addr)
	if e, ok := errors.AsType[*address.RefusedError](err); ok {
		n.refused.Note(addr, e.Reason, time.Now())
	}
	return conn, err
}

// Dial connects to a member's service, if to do so is allowed: see [Config].Probe.
func (p *Pool) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return watchedNetwork{p.node, &p.refused}.Dial(ctx, addr)
}

// Self is this incarnation of this member.
func (p *Pool) Self() dynmesh.Observer { return p.self }

// Members returns how many members there are, this one included, so far as it knows.
func (p *Pool) Members() int { return int(max(p.exchange.members.Load(), 1)) }

// Addr is host:port where others reach the pool.
func (p *Pool) Addr() string { return p.node.Addr().String() }

// Watched returns a channel that is closed once the end of this process would be noticed at once:
// those who are to watch it do, or there is nobody else. It is closed a second after gossip began,
// five after Run began where there is no key to begin with, and when Run returns.
func (p *Pool) Watched() <-chan struct{} { return p.loop.introduction.watched }

// Observe tells the mesh what was found, in place of what was said of the same subject before. What
// table.Table.Observe would refuse is logged and told to nobody.
func (p *Pool) Observe(r dynmesh.Report) { p.inbox.observe(r.Subject, &r) }

// Withdraw takes back what was said of a subject.
func (p *Pool) Withdraw(s dynmesh.Subject) { p.inbox.observe(s, nil) }

// WatchForeign has frontends watch an instance whose worker is no member, and say what they find.
// at is where, in place of where it was before; the zero value ends it.
func (p *Pool) WatchForeign(s dynmesh.Subject, at dynmesh.Foreign) { p.inbox.watchForeign(s, at) }

// Changed returns a channel that has a value when Take has something. Nothing is kept for Take
// before the first call; the first updates after it have everything that is known.
func (p *Pool) Changed() <-chan struct{} {
	p.listen.Do(p.inbox.listen)
	return p.updates.changed
}

// Take returns what changed since it was last called: one goroutine may.
func (p *Pool) Take() dynmesh.GossipUpdate { return p.updates.take() }
