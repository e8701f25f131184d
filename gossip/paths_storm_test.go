package gossip

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
)

// When very much is lost at once, all of it is found, and what is sent and connected in order to
// find it stays within bounds.
func TestPathsMakeNoStorm(t *testing.T) {
	t.Parallel()
	t.Run("foreign", func(t *testing.T) {
		inBubble(t, 1, func(m *mesh) {
			defer m.endAll()
			m.set(func() { m.faults.delay = time.Millisecond })
			frontend := m.start(1, func(c *Config) { c.Role = dynmesh.RoleFrontend })
			m.joined(frontend, m.start(2, nil), m.start(3, nil))
			subjects := make([]dynmesh.Subject, 200)
			for i := range subjects {
				subjects[i] = dynmesh.Subject{ID: dynmesh.InstanceID(1000 + i), Endpoint: dynmesh.Endpoint{Namespace: "a", Component: "b", Name: "c"}}
				m.host(1000 + i).serve(servicePort)
				frontend.WatchForeign(subjects[i], dynmesh.Foreign{Addr: fmt.Sprintf("%s:%d", netip4(1000+i), servicePort)})
			}
			all := func(f dynmesh.Finding, r dynmesh.Reason) func() bool {
				return func() bool {
					return !slices.ContainsFunc(subjects, func(s dynmesh.Subject) bool { return !frontend.told(s, 1, f, r) })
				}
			}
			m.within(5*time.Second, "all pass", all(dynmesh.Pass, ""))
			count := m.countDials(frontend.host)
			m.set(func() {
				for i := range subjects {
					m.hosts[netip.MustParseAddr(netip4(1000+i))].gone = true
				}
			})
			d := m.within(30*time.Second, "all found", all(dynmesh.Fail, dynmesh.ReasonTimeout))
			t.Logf("200 silent: the last was found after %v; %d connections at once, %d in all", d, count().most, count().begun)
			if most := count().most; most > 10*probe.MaxForeignDials {
				t.Errorf("%d connections at once", most)
			}
			m.pass(30 * time.Second)
			before := count().begun
			m.pass(30 * time.Second)
			if n := count().begun - before; n > 200*30/4 {
				t.Errorf("%d connections in 30 s, while all are known to be gone: want one each 5 s", n)
			}
		})
	})
	t.Run("very many foreign", func(t *testing.T) {
		inBubble(t, 1, func(m *mesh) {
			defer m.endAll()
			const fleet, dead = 2500, 50 // more than one frontend can look at each 2 s
			frontend := m.start(1, func(c *Config) { c.Role = dynmesh.RoleFrontend })
			m.host(2).serve(servicePort)
			peer := m.start(2, func(c *Config) { c.Service = fmt.Sprintf("%s:%d", netip4(2), servicePort) })
			m.joined(frontend, peer)
			s := dynmesh.Subject{Endpoint: dynmesh.Endpoint{Namespace: "a", Component: "b", Name: "c"}}
			for i := range fleet {
				s.ID = dynmesh.InstanceID(1000 + i)
				if i >= dead {
					m.host(1000 + i).serve(servicePort)
				}
				frontend.WatchForeign(s, dynmesh.Foreign{Addr: fmt.Sprintf("%s:%d", netip4(1000+i), servicePort)})
			}
			count := m.countDials(frontend.host)
			first, most := count().begun, 0
			for range 10 {
				before := count().begun
				m.pass(time.Second)
				most = max(most, count().begun-before)
			}
			t.Logf("%d addresses: %d connections in 10 s, %d at most in one, %d at once", fleet, count().begun-first, most, count().most)
			if limit := int((time.Second + probe.ForeignSlack) / probe.ForeignPace); most > limit*11/10 { // a burst is paid for when it begins
				t.Errorf("%d connections in a second, want at most %d", most, limit)
			}
			frontend.read()
			if want := fleet + 2; len(frontend.paths) != want { // these, its peer, and what that says of it
				t.Errorf("%d findings about paths stand, want %d", len(frontend.paths), want)
			}
			_ = peer.host.ports[servicePort].close() // and a member does not wait behind all of them
			m.within(6*time.Second, "a member's port that is closed", func() bool {
				return frontend.told(worker(peer.Self().ID), 1, dynmesh.Fail, dynmesh.ReasonRefused)
			})
		})
	})
	t.Run("members", func(t *testing.T) {
		inBubble(t, 1, func(m *mesh) {
			defer m.endAll()
			m.set(func() { m.faults.delay = time.Millisecond })
			const lost, left = 20, 10
			frontend := m.start(1, func(c *Config) { c.Role = dynmesh.RoleFrontend })
			peers := m.startsFrom(2, lost+left)
			m.within(30*time.Second, "all pass", func() bool {
				frontend.read()
				return len(frontend.paths) >= probe.Watchers*len(peers)
			})
			m.pass(2 * probe.HandoverGrace)
			survivor := peers[lost].host
			count := m.countDials(survivor)
			packets, direct := 0, 0
			m.set(func() {
				m.sniff = func(from, to netip.AddrPort, _ []byte) {
					if from.Addr() == survivor.addr {
						packets++
					}
					if to.Addr() == frontend.host.addr {
						direct++
					}
				}
			})
			for _, p := range peers[:lost] {
				p.host.kill()
			}
			d := m.within(10*time.Second, "all found", func() bool {
				for _, p := range peers[:lost] {
					v := frontend.views(worker(p.Self().ID))
					failed := 0
					for id, o := range v {
						if o.Finding == dynmesh.Fail {
							failed++
						}
						if int(id) >= 2 && int(id) < 2+lost {
							delete(v, id) // said by one that was killed as well
						}
					}
					if failed < len(v) {
						return false
					}
				}
				return true
			})
			m.set(func() { m.sniff = nil })
			t.Logf("%d of %d killed: all that survivors watched were found after %v; in that time one survivor sent %d packets and made %d connections, %d at once; "+
				"the frontend got %d packets", lost, lost+left, d, packets, count().begun, count().most, direct)
			if count().most > probe.MaxGossipDials || packets > 500 || direct > 500 {
				t.Error("a storm")
			}
		})
	})
}

// startsFrom begins workers without ports of requests on n hosts from the first on.
func (m *mesh) startsFrom(first, n int) (all []*peer) {
	for i := range n {
		all = append(all, m.start(first+i, nil))
	}
	return all
}

type dialCount struct{ now, most, begun int }

// countDials counts the connections that a host makes.
func (m *mesh) countDials(of *host) func() dialCount {
	var c dialCount
	m.set(func() {
		m.dials = func(from *host) func() {
			if from != of {
				return func() {}
			}
			m.set(func() {
				c.now++
				c.begun++
				c.most = max(c.most, c.now)
			})
			return func() { m.set(func() { c.now-- }) }
		}
	})
	return func() (copied dialCount) {
		m.set(func() { copied = c })
		return copied
	}
}
