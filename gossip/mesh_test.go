package gossip

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/table"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// peer is a pool on a host of a fabric, and what its reader has been told.
type peer struct {
	*Pool
	host  *host
	end   context.CancelFunc
	ended chan struct{}
	err   error // of Run, once ended is closed
	log   *testkit.Buffer

	health       dynmesh.GossipHealth
	members      map[dynmesh.InstanceID]dynmesh.Member
	observations map[dynmesh.ObservationKey]dynmesh.Observation // but for those of paths
	paths        map[dynmesh.ObservationKey]dynmesh.Observation
}

// mesh is peers on a fabric, in a bubble.
type mesh struct {
	*testing.T
	*fabric
	peers   []*peer
	belongs belongs // of those who are started; nil: belongsTo
}

// inBubble runs f on virtual time, and ends all peers that it has left running.
func inBubble(t *testing.T, seed uint64, f func(*mesh)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{T: t, fabric: newFabric(seed)}
		defer func() {
			for _, p := range m.peers {
				p.end()
			}
			for _, p := range m.peers {
				<-p.ended
			}
			time.Sleep(time.Minute) // memberlist's last probes
		}()
		f(m)
	})
}

// start begins a pool on the n-th host, which joins at the first one. The ID is n, unless edit says
// otherwise.
func (m *mesh) start(n int, edit func(*Config)) *peer {
	m.Helper()
	h := m.host(n)
	log := &testkit.Buffer{}
	logger := logrus.New()
	logger.SetOutput(log)
	cfg := Config{
		Identity: identityOf(dynmesh.InstanceID(n)), Role: dynmesh.RoleWorker, Bind: netip4(n) + ":7946", Join: []string{netip4(1) + ":7946"},
		Keyring: Unencrypted(), Log: logrus.NewEntry(logger),
	}
	if edit != nil {
		edit(&cfg)
	}
	belongs := m.belongs
	if belongs == nil {
		belongs = belongsTo
	}
	pool, err := newPool(cfg, h, belongs)
	if err != nil {
		m.Fatal(err)
	}
	p := &peer{
		Pool: pool, host: h, ended: make(chan struct{}), log: log,
		members: make(map[dynmesh.InstanceID]dynmesh.Member), observations: make(map[dynmesh.ObservationKey]dynmesh.Observation),
		paths: make(map[dynmesh.ObservationKey]dynmesh.Observation),
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.end = cancel
	pool.Changed()
	go func() {
		p.err = pool.Run(ctx)
		close(p.ended)
	}()
	m.peers = append(m.peers, p)
	return p
}

// starts begins peers on the hosts 1 to n.
func (m *mesh) starts(n int, edit func(*Config)) []*peer {
	var all []*peer
	for i := range n {
		all = append(all, m.start(i+1, edit))
	}
	return all
}

func hostAddr(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}) }

// bubbleStart is when time begins in a bubble.
func bubbleStart() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

func netip4(n int) string { return hostAddr(n).String() }

// kill ends a peer as SIGKILL does.
func (m *mesh) kill(p *peer) {
	p.host.kill()
	p.end()
	<-p.ended
}

func (p *peer) read() {
	u := p.Take()
	p.health = u.Health
	for _, m := range u.Members {
		p.members[m.ID] = m
	}
	for _, o := range u.Forgotten { // after what became of it: one update may have both
		if p.members[o.ID].Observer == o {
			delete(p.members, o.ID)
		}
	}
	for _, k := range u.Withdrawn {
		delete(p.observations, k)
		delete(p.paths, k)
	}
	for _, o := range u.Observations {
		if o.Kind == dynmesh.KindPath {
			p.paths[o.Key()] = o
		} else {
			p.observations[o.Key()] = o
		}
	}
}

// state is what the peer believes of another.
func (p *peer) state(id dynmesh.InstanceID) dynmesh.MemberState {
	p.read()
	return p.members[id].State
}

// alive is how many members it holds for alive, itself among them.
func (p *peer) alive() int {
	p.read()
	n := 0
	for _, m := range p.members {
		if m.State == dynmesh.Alive {
			n++
		}
	}
	return n
}

// pass lets time pass. It takes none, since it is the bubble's.
func (m *mesh) pass(d time.Duration) {
	m.Helper()
	time.Sleep(d)
	m.keptIsTrue()
}

// keptIsTrue fails where a loop has kept what it would not find anew.
func (m *mesh) keptIsTrue() {
	m.Helper()
	synctest.Wait()
	for _, p := range m.peers {
		l := p.loop
		p.inbox.mu.Lock() // for the race detector: with it the loop's next iteration begins
		if anew := l.present(); !l.hearing.changed && !slices.Equal(l.hearing.present, anew) {
			m.Errorf("%s is to hear %v, and looks for %v", l.pool.self.ID, anew, l.hearing.present)
		}
		if sum := l.sync.members; sum != nil && *sum != l.members.sum() {
			m.Errorf("%s: the sum of its members is not theirs", l.pool.self.ID)
		}
		p.inbox.mu.Unlock()
	}
}

// within waits until the condition holds, and returns how long that took.
func (m *mesh) within(d time.Duration, what string, holds func() bool) time.Duration {
	m.Helper()
	begun := time.Now()
	for !holds() {
		if time.Since(begun) > d {
			for _, p := range m.peers {
				p.read()
				m.Logf("%s: %d observations, members %v", p.Self().ID, len(p.observations), p.members)
			}
			m.Fatalf("after %v: not %s", d, what)
		}
		m.pass(10 * time.Millisecond)
	}
	return time.Since(begun)
}

// joined waits until all peers see each other.
func (m *mesh) joined(peers ...*peer) {
	m.Helper()
	m.within(10*time.Second, "all members alive", func() bool {
		return !slices.ContainsFunc(peers, func(p *peer) bool { return p.alive() < len(peers) })
	})
}

// agree says whether all know the same observations.
func agree(peers ...*peer) bool {
	for _, p := range peers {
		p.read()
	}
	for _, p := range peers[1:] {
		if !maps.EqualFunc(p.observations, peers[0].observations, func(a, b dynmesh.Observation) bool { return a == b }) {
			return false
		}
	}
	return true
}

// canaryOf is what a worker says of one of its instances.
func canaryOf(id dynmesh.InstanceID, endpoint string, f dynmesh.Finding) dynmesh.Report {
	return dynmesh.Report{
		Subject: dynmesh.Subject{ID: id, Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: endpoint}},
		Kind:    dynmesh.KindCanary, Finding: f, Ready: f == dynmesh.Pass, At: time.Now(),
	}
}

// everythingOf returns what a table sends to one that holds nothing.
func everythingOf(tb *table.Table) [][]byte {
	buckets := make([]int, len(table.Digest{}))
	for i := range buckets {
		buckets[i] = i
	}
	var all [][]byte
	for _, have := range table.New(dynmesh.Observer{ID: 1 << 60, Epoch: 1}, keysOf(1<<60)).Have(buckets) {
		missing, err := tb.Missing(have)
		if err != nil {
			panic(err)
		}
		all = append(all, missing...)
	}
	return all
}
