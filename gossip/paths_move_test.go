package gossip

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
)

// A watch goes from member to member as they come and go, and is never missing meanwhile.
func TestPathsMoveWithTheMembers(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		defer m.endAll()
		m.set(func() { m.faults.delay = time.Millisecond })
		frontend, all := m.fleet(4)
		least, most := probe.Watchers, 0
		look := func(d time.Duration, except *peer) {
			for range d / (100 * time.Millisecond) {
				m.pass(100 * time.Millisecond)
				for _, p := range all[1:] {
					if n := len(frontend.views(worker(p.Self().ID))); p != except {
						least, most = min(least, n), max(most, n)
					}
				}
			}
		}
		for i := range 6 {
			m.start(20+i, func(c *Config) { c.Role = dynmesh.RoleFrontend })
			look(5*time.Second, nil)
		}
		look(2*probe.HandoverGrace, nil)
		if least < probe.Watchers || most <= probe.Watchers {
			t.Errorf("workers had %d to %d watchers while members joined: want %d at least, and more for a while", least, most, probe.Watchers)
		}
		for _, p := range all[1:] {
			if got := frontend.views(worker(p.Self().ID)); len(got) != probe.Watchers {
				t.Errorf("%v has %d watchers after all have joined: %v", p.Self().ID, len(got), got)
			}
		}
		for _, p := range m.peers[len(all):] {
			p.end()
			<-p.ended
		}
		look(time.Minute, nil)
		for _, p := range all[1:] {
			if got := frontend.views(worker(p.Self().ID)); len(got) != probe.Watchers {
				t.Errorf("%v has %d watchers after they have left: %v", p.Self().ID, len(got), got)
			}
		}
		all[4].end() // a worker that leaves is watched no longer
		<-all[4].ended
		m.within(3*time.Second, "nobody speaks of one that left", func() bool { return len(frontend.views(worker(all[4].Self().ID))) == 0 })
	})
}

// Whose watch has become somebody else's says that the worker cannot be reached for as long as that
// is so.
func TestFailuresOutlastTheirTurn(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		defer m.endAll()
		m.set(func() { m.faults.delay = time.Millisecond })
		frontend, all := m.fleet(4)
		joined := slices.Clone(all)
		for i := range 6 {
			joined = append(joined, m.start(20+i, func(c *Config) { c.Role = dynmesh.RoleFrontend }))
		}
		m.joined(joined...)
		m.pass(probe.HandoverGrace / 2)
		n := slices.IndexFunc(all, func(p *peer) bool {
			return p != frontend && len(frontend.views(worker(p.self.ID))) > probe.Watchers // it cannot look while it is paused
		})
		if n < 0 {
			t.Fatal("no worker has become somebody else's to watch: choose other members")
		}
		lost := worker(all[n].self.ID)
		watchers := len(frontend.views(lost))
		m.set(func() { all[n].host.paused = true })
		m.within(5*time.Second, "all of them fail", func() bool { return frontend.told(lost, watchers, dynmesh.Fail, dynmesh.ReasonFrozen) })
		for range 40 {
			m.pass(probe.HandoverGrace / 10)
			if !frontend.told(lost, watchers, dynmesh.Fail, dynmesh.ReasonFrozen) {
				t.Fatalf("%d watchers could not reach it, and it is still so: %v", watchers, frontend.views(lost))
			}
		}
		m.set(func() { all[n].host.paused = false })
		m.within(2*probe.HandoverGrace+5*time.Second, "those whose turn it is pass, and the others are silent", func() bool {
			return frontend.told(lost, probe.Watchers, dynmesh.Pass, "")
		})
	})
}

// And so it is with instances whose workers are no members.
func TestForeignFailuresOutlastTheirTurn(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		defer m.endAll()
		m.set(func() { m.faults.delay = time.Millisecond })
		h := m.host(50)
		var all []dynmesh.Subject
		var stops []func()
		for i := range 8 {
			stops = append(stops, h.serve(uint16(9000+i)))
			all = append(all, dynmesh.Subject{ID: dynmesh.InstanceID(70 + i), Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "c", Name: "e"}})
		}
		frontend := func(n int) *peer {
			p := m.start(n, func(c *Config) { c.Role = dynmesh.RoleFrontend })
			for i, s := range all {
				p.WatchForeign(s, dynmesh.Foreign{Addr: fmt.Sprintf("%s:%d", netip4(50), 9000+i)})
			}
			return p
		}
		fronts := []*peer{frontend(1), frontend(2)}
		m.joined(fronts...)
		m.within(5*time.Second, "all pass", func() bool {
			return !slices.ContainsFunc(all, func(s dynmesh.Subject) bool { return !fronts[0].told(s, probe.Watchers, dynmesh.Pass, "") })
		})
		fronts = append(fronts, frontend(3), frontend(4))
		m.joined(fronts...)
		m.pass(probe.HandoverGrace / 2)
		n := slices.IndexFunc(all, func(s dynmesh.Subject) bool { return len(fronts[0].views(s)) > probe.Watchers })
		if n < 0 {
			t.Fatal("no instance has become somebody else's to watch: choose other members")
		}
		watchers := len(fronts[0].views(all[n]))
		stops[n]()
		m.within(4*time.Second, "all of them fail", func() bool { return fronts[0].told(all[n], watchers, dynmesh.Fail, dynmesh.ReasonRefused) })
		m.pass(3 * probe.HandoverGrace)
		if !fronts[0].told(all[n], watchers, dynmesh.Fail, dynmesh.ReasonRefused) {
			t.Errorf("%d watchers could not reach it, and it is still so: %v", watchers, fronts[0].views(all[n]))
		}
		h.serve(uint16(9000 + n))
		m.within(2*probe.HandoverGrace+5*time.Second, "those whose turn it is pass, and the others are silent", func() bool {
			return fronts[0].told(all[n], probe.Watchers, dynmesh.Pass, "")
		})
	})
}

// A newcomer hears of the others one after the other. What is its own to watch until it has heard
// of all is watched by them already, and it says nothing of it.
func TestNewcomerSpeaksOfItsShareOnly(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		m.set(func() { m.faults.delay = time.Millisecond })
		all := m.starts(20, nil)
		m.joined(all...)
		newcomer := m.start(21, nil)
		m.joined(append(all, newcomer)...)
		m.pass(probe.HandoverGrace / 2)
		newcomer.read()
		share := probe.NewAssignment(newcomer.self.ID)
		for _, p := range all {
			share.Join(p.self.ID)
		}
		for _, p := range all {
			told := newcomer.views(worker(p.self.ID))[newcomer.self.ID].Finding != ""
			if mine := share.Add(p.self.ID); mine != told {
				t.Errorf("of %s, to be watched by the newcomer: %v, it speaks: %v", p.self.ID, mine, told)
			}
		}
	})
}

// Instances whose workers are no members are watched by frontends, each address once.
func TestPathsOfForeignInstances(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		defer m.endAll()
		m.set(func() { m.faults.delay = time.Millisecond })
		fronts := m.starts(3, func(c *Config) { c.Role = dynmesh.RoleFrontend })
		workers := []*peer{m.start(4, nil), m.start(5, nil)}
		all := append(slices.Clone(fronts), workers...)
		m.joined(all...)
		h := m.host(50)
		stop := h.serve(9000)
		h.serve(9001)
		instance := func(id dynmesh.InstanceID, endpoint string) dynmesh.Subject {
			return dynmesh.Subject{ID: id, Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: endpoint}}
		}
		a, b, other := instance(70, "generate"), instance(70, "embed"), instance(71, "generate")
		for _, p := range all { // workers are told, too, and take no notice
			p.WatchForeign(a, dynmesh.Foreign{Addr: netip4(50) + ":9000"})
			p.WatchForeign(b, dynmesh.Foreign{Addr: netip4(50) + ":9000"})
			p.WatchForeign(other, dynmesh.Foreign{Addr: netip4(50) + ":9001"})
		}
		m.within(10*time.Second, "all pass", func() bool {
			return fronts[0].told(a, 2, dynmesh.Pass, "") && fronts[0].told(b, 2, dynmesh.Pass, "") && fronts[1].told(other, 2, dynmesh.Pass, "")
		})
		if x, y := slices.Sorted(maps.Keys(fronts[0].views(a))), slices.Sorted(maps.Keys(fronts[0].views(b))); !slices.Equal(x, y) {
			t.Errorf("two instances of one worker are watched by %v and %v", x, y)
		}
		m.pass(5 * time.Second)
		stop()
		d := m.within(3*time.Second, "both instances refused", func() bool {
			return fronts[0].told(a, 2, dynmesh.Fail, dynmesh.ReasonRefused) && fronts[0].told(b, 2, dynmesh.Fail, dynmesh.ReasonRefused)
		})
		t.Logf("refused after %v", d)
		if !fronts[0].told(other, 2, dynmesh.Pass, "") {
			t.Errorf("the other: %v", fronts[0].views(other))
		}
		gone := slices.Sorted(maps.Keys(fronts[0].views(a)))[1]
		left := slices.DeleteFunc(slices.Clone(fronts), func(p *peer) bool { return p.Self().ID == gone })
		m.kill(fronts[gone-1])
		m.within(30*time.Second, "the third frontend watches in its stead", func() bool {
			v := left[0].views(a)
			delete(v, gone)
			return len(v) == 2
		})
		for _, p := range left {
			p.WatchForeign(a, dynmesh.Foreign{Addr: ""})
			p.WatchForeign(b, dynmesh.Foreign{Addr: netip4(50) + ":9001"}) // moved
		}
		m.within(3*time.Second, "nothing is said of what is not there, and the one that moved passes", func() bool {
			v, moved := left[0].views(a), left[0].views(b)
			delete(v, gone)
			delete(moved, gone)
			return len(v) == 0 && len(moved) == 2 && !slices.ContainsFunc(slices.Collect(maps.Values(moved)),
				func(o dynmesh.Observation) bool { return o.Finding != dynmesh.Pass })
		})
	})
}
