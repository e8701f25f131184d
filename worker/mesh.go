package worker

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/address"
)

// drainNotice is how long the worker stays in the registry when it has said that it drains: the
// pool tells frontends at once, and again after 50 ms. Who sees its keys go then knows why.
const drainNotice = 100 * time.Millisecond

// membership is the worker's part in the mesh: what it says of itself and of its endpoints. Where
// Config.Gossip is nil it says nothing, to nobody.
type membership struct {
	pool                 *gossip.Pool // nil: the worker is no member
	keyring              *gossip.Keyring
	identity             *gossip.Identity
	id                   dynmesh.InstanceID
	namespace, component string

	mu                 sync.Mutex
	reported, draining bool
	note               string
}

// newMembership binds the pool's addresses. What cfg.Gossip leaves out is the worker's: see there.
func newMembership(cfg Config, identity *gossip.Identity, host, service string, seeds func(context.Context) ([]string, error), log *logrus.Entry) (*membership, error) {
	m := &membership{identity: identity, id: identity.ID(), namespace: cfg.Namespace, component: cfg.Component}
	if cfg.Gossip == nil {
		return m, nil
	}
	g := *cfg.Gossip
	g.Identity, g.Role, g.Service, g.LeaseTTL = identity, dynmesh.RoleWorker, service, cfg.LeaseTTL
	g.Version = cmp.Or(g.Version, cfg.Version)
	g.Advertise = cmp.Or(g.Advertise, gossipHost(g.Bind, host, cfg.Etcd.Addrs()))
	g.Probe.Loopback = g.Probe.Loopback || address.AllLoopback(cfg.Etcd.Addrs())
	if g.Seeds == nil {
		g.Seeds = seeds
	}
	if g.Log == nil {
		g.Log = log
	}
	if g.Keyring == nil {
		g.Keyring = gossip.NewSharedKeyring()
	}
	m.keyring = g.Keyring
	var err error
	m.pool, err = gossip.NewPool(g) // its error names the field
	return m, err
}

// gossipHost chooses the address that members are told, for a pool bound to bind and a worker that
// is reached at host. Empty: the one that the pool is bound to.
func gossipHost(bind, host string, peers []string) string {
	if bound, _, err := net.SplitHostPort(cmp.Or(bind, "0.0.0.0:0")); err == nil && bound != "" {
		if ip, err := netip.ParseAddr(bound); err != nil || !ip.IsUnspecified() {
			return ""
		}
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return host
	}
	// The worker is known by a name, which may stand for a way to its requests only.
	host, err := discovery.AdvertiseHost("", peers)
	if err != nil {
		return "" // unreachable: only an explicit host is refused
	}
	return host
}

// addr is host:port where other members reach the worker; empty where it is none.
func (m *membership) addr() string {
	if m.pool == nil {
		return ""
	}
	return m.pool.Addr()
}

// publicKey is that by which others know what the worker says; empty where it is no member.
func (m *membership) publicKey() string {
	if m.pool == nil {
		return ""
	}
	return gossip.PublicKey(m.identity)
}

// keys returns where the pool has its keys from, empty where there is none, and, if that is etcd,
// what is to be told them.
func (m *membership) keys() (source dynmesh.KeySource, update func([]string, error)) {
	if m.pool == nil {
		return "", nil
	}
	if source = m.keyring.Source(); source == dynmesh.KeyOfRegistry {
		update = m.keyring.Update
	}
	return source, update
}

// close releases the addresses of a pool that never ran. After its Run it does nothing.
func (m *membership) close() {
	if m.pool != nil {
		_ = m.pool.Close() // nothing was written to it that could be lost
	}
}

// reportProcess says that the worker is there, and whether it is about to leave.
func (m *membership) reportProcess(draining bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reported, m.draining = true, draining
	m.sayProcess()
}

// setNote adds to what is said of the process.
func (m *membership) setNote(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.note = text; m.reported {
		m.sayProcess()
	}
}

// sayProcess is for those who have the lock.
func (m *membership) sayProcess() {
	m.observe(dynmesh.Report{
		Subject: dynmesh.Subject{ID: m.id}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: m.draining, Detail: m.note,
	})
}

// report says what is known of an endpoint.
func (m *membership) report(s canary.Status) {
	e := dynmesh.Endpoint{Namespace: m.namespace, Component: m.component, Name: s.Endpoint}
	m.observe(findingOf(m.id, e, s))
}

// A Measurer measures an endpoint, so that frontends can compare it with its peers: see package
// frontend/fleet's Remark.
type Measurer interface {
	// Measure says what it measures.
	Measure() dynmesh.Measure

	// Run measures until ctx ends, and then returns at once. It says each sample, of at most
	// dynmesh.MaxSample bytes, seldom: each is told to the whole mesh, where it takes the place of
	// the one before. 15 s between two are enough for hundreds of workers.
	Run(ctx context.Context, say func(sample string))
}

// measured is a measurer with its endpoint.
type measured struct {
	endpoint string
	by       Measurer
}

// measure has all measurers run until ctx ends. Where nobody hears of it, none does.
func (m *membership) measure(ctx context.Context, all []measured) {
	if m.pool == nil {
		return
	}
	var running sync.WaitGroup
	for _, one := range all {
		of := dynmesh.Subject{
			ID: m.id, Endpoint: dynmesh.Endpoint{Namespace: m.namespace, Component: m.component, Name: one.endpoint}, Measure: one.by.Measure(),
		}
		running.Go(func() {
			one.by.Run(ctx, func(sample string) {
				m.observe(dynmesh.Report{Subject: of, Kind: dynmesh.KindMeasure, Finding: dynmesh.Pass, Sample: sample})
			})
		})
	}
	running.Wait()
}

func (m *membership) observe(f dynmesh.Report) {
	if m.pool != nil {
		f.At = time.Now()
		m.pool.Observe(f)
	}
}

// watched waits until others would notice the worker's end at once: who reads the registry counts
// on that. It returns false when ctx ends before.
func (m *membership) watched(ctx context.Context) bool {
	if m.pool == nil {
		return true
	}
	select {
	case <-m.pool.Watched(): // which takes a second at most; five where there is no key to gossip with
		return true
	case <-ctx.Done():
		return false
	}
}

// drain says that the worker will leave, and gives that a moment to be heard.
func (m *membership) drain() {
	if m.pool == nil {
		return
	}
	m.reportProcess(true)
	<-time.After(drainNotice)
}

// findingOf puts what a monitor says into the words of the mesh.
func findingOf(id dynmesh.InstanceID, e dynmesh.Endpoint, s canary.Status) dynmesh.Report {
	f := dynmesh.Report{
		Subject: dynmesh.Subject{ID: id, Endpoint: e},
		Kind:    dynmesh.KindCanary,
		Finding: s.Finding,
		Ready:   s.Ready,
		Detail:  s.Detail,
	}
	switch s.Finding {
	case dynmesh.Busy:
		f.Kind = dynmesh.KindTraffic
	case dynmesh.Pass:
		f.Latency = s.Duration
	case dynmesh.Fail:
		f.Reason = s.Reason
		if s.Rejected {
			f.Kind = dynmesh.KindTraffic
		}
	}
	return f
}
