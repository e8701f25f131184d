package gossip

import (
	"slices"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
)

// A rack loses its power, and with a worker in it go both that watched it. Others take their place
// as soon as somebody misses those, long before memberlist has given them up.
func TestPathsOfARack(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		fail func(*mesh, *peer)
		max  time.Duration
	}{
		{"killed", func(_ *mesh, p *peer) { p.host.kill() }, 100 * time.Millisecond},
		{"silent", func(m *mesh, p *peer) { m.set(func() { p.host.gone = true }) }, 4500 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, 1, func(m *mesh) {
				defer m.endAll()
				m.set(func() { m.faults.delay = time.Millisecond })
				frontend, all := m.fleet(12)
				byID := map[dynmesh.InstanceID]*peer{}
				for _, p := range all {
					byID[p.Self().ID] = p
				}
				of := frontend.loop.prober.Watchers
				// The rack is a worker and its watchers, each of whom has a watcher outside.
				var rack []*peer
				for _, p := range all[1:] {
					ids := append(of(p.Self().ID), p.Self().ID)
					inside := func(id dynmesh.InstanceID) bool { return slices.Contains(ids, id) }
					seen := func(id dynmesh.InstanceID) bool {
						return slices.ContainsFunc(of(id), func(by dynmesh.InstanceID) bool { return !inside(by) })
					}
					if !inside(frontend.Self().ID) && seen(ids[0]) && seen(ids[1]) {
						rack = []*peer{byID[ids[0]], byID[ids[1]], p}
						break
					}
				}
				if rack == nil {
					t.Fatal("no worker is watched by two that others watch")
				}
				victim := rack[2].Self().ID
				m.pass(10 * time.Second)
				for _, p := range rack {
					tc.fail(m, p)
				}
				failing := func() (n int) {
					for by, o := range frontend.views(worker(victim)) {
						if !slices.ContainsFunc(rack, func(p *peer) bool { return p.Self().ID == by }) && o.Finding == dynmesh.Fail {
							n++
						}
					}
					return n
				}
				d := m.within(tc.max, "two others miss the one whose watchers are gone", func() bool { return failing() >= probe.Watchers })
				t.Logf("after %v; gossip says %v of it", d, frontend.state(victim))
				for _, p := range all[1:] {
					v := frontend.views(worker(p.Self().ID))
					if !slices.Contains(rack, p) && !frontend.told(worker(p.Self().ID), len(v), dynmesh.Pass, "") {
						t.Errorf("%v: got %v", p.Self().ID, v)
					}
				}
			})
		})
	}
}

// Half of the workers are killed, and half of those that are left with those that took their place,
// and so on, faster than memberlist gives anybody up: its own news fills the packets of gossip, and
// most of whom it counts as alive are dead.
func TestPathsOfRacksInARow(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		defer m.endAll()
		m.set(func() { m.faults.delay = time.Millisecond })
		frontend := m.start(1, func(c *Config) { c.Role = dynmesh.RoleFrontend })
		alive := []*peer{m.start(2, func(c *Config) { c.Role = dynmesh.RoleFrontend })}
		frontends, hosts := 2, 2
		for range 10 {
			hosts++
			alive = append(alive, m.start(hosts, nil))
		}
		m.joined(append(alive, frontend)...)
		for round := range 6 {
			m.pass(8 * time.Second)
			var rack []*peer
			for i := len(alive) - 1; i >= frontends-1; i-- {
				if (i+round)%2 == 0 {
					rack = append(rack, alive[i])
					alive = slices.Delete(alive, i, i+1)
				}
			}
			for _, p := range rack {
				p.host.kill()
			}
			m.within(500*time.Millisecond, "each of them is missed by two that live", func() bool {
				return !slices.ContainsFunc(rack, func(victim *peer) bool {
					misses := 0
					for by, o := range frontend.views(worker(victim.Self().ID)) {
						lives := by == frontend.Self().ID || slices.ContainsFunc(alive, func(p *peer) bool { return p.Self().ID == by })
						if lives && o.Finding == dynmesh.Fail {
							misses++
						}
					}
					return misses < probe.Watchers
				})
			})
			for _, p := range rack {
				p.end()
				hosts++
				alive = append(alive, m.start(hosts, nil))
			}
		}
	})
}

// A frontend that hangs is missed as a worker is: what it watched is others' to watch long before
// memberlist gives it up, and who reads what it said knows that it can no longer be reached.
func TestPathsOfAFrontendThatHangs(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		defer m.endAll()
		m.set(func() { m.faults.delay = time.Millisecond })
		frontend, all := m.fleet(6)
		hung := m.start(20, func(c *Config) { c.Role = dynmesh.RoleFrontend })
		m.joined(append(slices.Clone(all), hung)...)
		n := slices.IndexFunc(all[1:], func(p *peer) bool {
			return slices.Contains(frontend.loop.prober.Watchers(p.Self().ID), hung.Self().ID)
		})
		if n < 0 {
			t.Fatal("it watches nobody: choose another ID")
		}
		victim := all[1+n]
		m.pass(5 * time.Second)
		m.set(func() { hung.host.paused = true })
		m.within(4*time.Second, "both have found that it hangs", func() bool {
			return frontend.told(worker(hung.Self().ID), probe.Watchers, dynmesh.Fail, dynmesh.ReasonFrozen)
		})
		m.pass(2 * time.Second) // until those who take over have heard the victim
		if s := frontend.state(hung.Self().ID); s != dynmesh.Alive && s != dynmesh.Suspect {
			t.Fatalf("memberlist holds it for %s: there is nothing to see", s)
		}
		m.kill(victim)
		m.within(100*time.Millisecond, "two who are well have found that the worker is gone", func() bool {
			fails := 0
			for by, o := range frontend.views(worker(victim.Self().ID)) {
				if by != hung.Self().ID && o.Finding == dynmesh.Fail {
					fails++
				}
			}
			return fails >= probe.Watchers
		})
	})
}
