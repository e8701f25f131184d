package gossip

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
)

// serve has a host accept connections at a port of requests, and returns how to end that.
func (h *host) serve(n uint16) (stop func()) {
	l, _, err := h.Listen(netip.AddrPortFrom(h.addr, n))
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return func() { l.Close() }
}

// views is what a peer has been told of a worker's path, by observer.
func (p *peer) views(s dynmesh.Subject) map[dynmesh.InstanceID]dynmesh.Observation {
	p.read()
	all := map[dynmesh.InstanceID]dynmesh.Observation{}
	for k, o := range p.paths {
		if k.Subject == s {
			all[k.Observer.ID] = o
		}
	}
	return all
}

// say reports whether the peer was told by n watchers of the worker, and by all of them the same.
func (p *peer) told(s dynmesh.Subject, n int, want dynmesh.Finding, reason dynmesh.Reason) bool {
	views := p.views(s)
	for _, o := range views {
		if o.Finding != want || o.Reason != reason {
			return false
		}
	}
	return len(views) == n
}

func worker(id dynmesh.InstanceID) dynmesh.Subject { return dynmesh.Subject{ID: id} }

const servicePort = 8080

// fleet is a frontend, which is member 1, and workers with ports of requests, which are all members
// after it. All pass.
func (m *mesh) fleet(workers int) (frontend *peer, all []*peer) {
	m.Helper()
	frontend = m.start(1, func(c *Config) { c.Role = dynmesh.RoleFrontend })
	all = append(all, frontend)
	for i := range workers {
		m.host(i + 2).serve(servicePort)
		all = append(all, m.start(i+2, func(c *Config) { c.Service = fmt.Sprintf("%s:%d", netip4(i+2), servicePort) }))
	}
	m.joined(all...)
	m.within(5*time.Second+probe.Watchers*probe.HandoverGrace, "every worker passes for its two watchers", func() bool {
		return !slices.ContainsFunc(all[1:], func(p *peer) bool {
			return !frontend.told(worker(p.Self().ID), probe.Watchers, dynmesh.Pass, "")
		})
	})
	return frontend, all
}

// endAll ends what serves on hosts.
func (m *mesh) endAll() {
	for _, h := range m.hosts {
		h.kill()
	}
}

func TestPathsOfAWorkerThatFails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		fail    func(*mesh, *peer)
		reason  dynmesh.Reason
		detail  string
		max     time.Duration
		recover func(*mesh, *peer)
	}{
		{name: "killed", fail: func(m *mesh, p *peer) { p.host.kill() }, reason: dynmesh.ReasonRefused,
			detail: "its port of gossip refuses connections", max: 30 * time.Millisecond},
		{name: "paused", fail: func(m *mesh, p *peer) { m.set(func() { p.host.paused = true }) }, reason: dynmesh.ReasonFrozen,
			detail: "accepts connections but does not answer", max: 3 * time.Second,
			recover: func(m *mesh, p *peer) { m.set(func() { p.host.paused = false }) }},
		{name: "cut off", fail: func(m *mesh, p *peer) { m.set(func() { p.host.gone = true }) }, reason: dynmesh.ReasonTimeout,
			detail: "no answer, and no connection", max: 3 * time.Second,
			recover: func(m *mesh, p *peer) { m.set(func() { p.host.gone = false }) }},
		{name: "its port of requests is closed", fail: func(m *mesh, p *peer) {
			_ = p.host.ports[servicePort].close()
		}, reason: dynmesh.ReasonRefused, detail: "its port of requests refuses connections", max: 6 * time.Second,
			recover: func(m *mesh, p *peer) { p.host.serve(servicePort) }},
		{name: "another process takes its port", fail: func(m *mesh, p *peer) {
			p.host.kill()
			p.end()
			m.start(int(p.Self().ID), func(c *Config) { c.Identity = identityOf(99) })
		}, reason: dynmesh.ReasonUnreachable, detail: "another process answers there", max: 2 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, 1, func(m *mesh) {
				defer m.endAll()
				m.set(func() { m.faults.delay = time.Millisecond })
				frontend, all := m.fleet(5)
				victim := all[3]
				s := worker(victim.Self().ID)
				m.pass(10 * time.Second) // in which those who joined last have taken over from others
				before := slices.Sorted(maps.Keys(frontend.views(s)))
				tc.fail(m, victim)
				found := m.within(tc.max, "found by both", func() bool { return frontend.told(s, probe.Watchers, dynmesh.Fail, tc.reason) })
				t.Logf("found by both after %v", found)
				for _, o := range frontend.views(s) {
					if o.Detail != tc.detail {
						t.Errorf("detail: got %q, want %q", o.Detail, tc.detail)
					}
				}
				if got := slices.Sorted(maps.Keys(frontend.views(s))); !slices.Equal(got, before) {
					t.Errorf("observers: got %v, want %v", got, before)
				}
				for _, p := range all[1:] { // and nobody else; whom the victim watched has a third watcher now
					v := frontend.views(worker(p.Self().ID))
					if p != victim && (len(v) < probe.Watchers || !frontend.told(worker(p.Self().ID), len(v), dynmesh.Pass, "")) {
						t.Errorf("%v: got %v", p.Self().ID, v)
					}
				}
				if tc.recover != nil {
					m.pass(2 * time.Second)
					tc.recover(m, victim)
					d := m.within(10*time.Second, "well again", func() bool {
						// Who was cut off holds others for dead and says so: for a while there may
						// be more watchers.
						n := len(frontend.views(s))
						return n >= probe.Watchers && frontend.told(s, n, dynmesh.Pass, "")
					})
					t.Logf("well again after %v", d)
				}
			})
		})
	}
}

// Whatever closes idle connections proves nothing, and neither does what swallows packets.
func TestPathsThroughAMiddlebox(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		defer m.endAll()
		m.set(func() { m.faults.delay = time.Millisecond })
		frontend, all := m.fleet(5)
		failed := ""
		watch := func(d time.Duration) {
			for range d / (20 * time.Millisecond) {
				m.pass(20 * time.Millisecond)
				frontend.read()
				for k, o := range frontend.paths {
					if o.Finding != dynmesh.Pass {
						failed = fmt.Sprintf("%v: %+v", k, o)
					}
				}
			}
		}
		for range 20 {
			cut := 0
			for _, p := range all {
				m.mu.Lock()
				conns := slices.Collect(maps.Keys(p.host.conns))
				m.mu.Unlock()
				for _, c := range conns {
					c.reset()
					cut++
				}
			}
			if cut < 2*len(all) {
				t.Fatalf("%d connections were there to be cut", cut)
			}
			watch(12 * time.Second) // by then the tripwires are there again
		}
		m.set(func() { all[2].host.udpDown = true })
		watch(time.Minute)
		degraded := 0
		for _, p := range all {
			p.read()
			degraded = max(degraded, p.health.UDPDegraded)
		}
		if degraded == 0 {
			t.Error("nobody says that a member answers over TCP only")
		}
		if failed != "" {
			t.Error(failed)
		}
	})
}

// The whole of it, where 30 % of packets are lost in each direction and all take 100 ms.
func TestPathsOverALossyNetwork(t *testing.T) {
	t.Parallel()
	single, double := 0, 0
	inBubble(t, 1, func(m *mesh) {
		defer m.endAll()
		frontend, _ := m.fleet(10)
		m.set(func() { m.faults.loss, m.faults.delay = 0.3, 100*time.Millisecond })
		failing := map[dynmesh.ObservationKey]bool{}
		for range 2 * 60 * 10 {
			m.pass(100 * time.Millisecond)
			fails := map[dynmesh.Subject]int{}
			frontend.read()
			for k, o := range frontend.paths {
				bad := o.Finding == dynmesh.Fail
				if bad {
					fails[k.Subject]++
				}
				if bad && !failing[k] {
					single++
					t.Logf("%v: %+v", k, o.Report)
				}
				failing[k] = bad
			}
			for _, n := range fails {
				double += n / 2
			}
		}
	})
	t.Logf("2 min, 10 workers: %d false findings of one watcher, %d moments with two", single, double)
	if double > 0 {
		t.Errorf("two watchers agreed %d times that a worker that is well had failed", double)
	}
}

// Who is cut off hears nobody, and does not take that for the failure of all others.
func TestPathsOfOneThatIsCutOff(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		defer m.endAll()
		m.set(func() { m.faults.delay = time.Millisecond })
		frontend, all := m.fleet(5)
		cut := all[2]
		m.set(func() { cut.host.gone = true })
		for range 600 {
			m.pass(50 * time.Millisecond)
			for _, p := range all[1:] {
				if o, ok := cut.views(worker(p.Self().ID))[cut.Self().ID]; ok && o.Finding == dynmesh.Fail {
					t.Fatalf("it says %+v", o)
				}
			}
		}
		m.set(func() { cut.host.gone = false })
		m.within(30*time.Second, "all well again", func() bool {
			return !slices.ContainsFunc(all[1:], func(p *peer) bool {
				return !frontend.told(worker(p.Self().ID), probe.Watchers, dynmesh.Pass, "")
			})
		})
	})
}
