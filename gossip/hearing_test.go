package gossip

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
)

// Where the port of gossip of a worker is cut off, over TCP and UDP, and its port of requests is
// not, nobody says that it cannot be reached, and what it finds goes on to arrive. Once it is dead,
// or its host has vanished, all say so.
func TestPortOfGossipIsCutOff(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"healed", "killed", "vanished", "frozen"} {
		t.Run(end, func(t *testing.T) {
			inBubble(t, 1, func(m *mesh) {
				frontend, all := m.fleet(5)
				defer m.endAll()
				victim := all[2]
				id := victim.Self().ID
				m.pass(5 * time.Second)
				passes := func(reason dynmesh.Reason) func() bool {
					return func() bool {
						n := 0
						for by, o := range frontend.views(worker(id)) {
							if o.Finding == dynmesh.Fail {
								t.Fatalf("%s says %+v", by, o)
							}
							if o.Finding == dynmesh.Pass && o.Reason == reason {
								n++
							}
						}
						return n == probe.Watchers
					}
				}
				m.set(func() { victim.host.cutPort = 7946 })
				defer func() {
					if t.Failed() {
						t.Log(frontend.views(worker(id)), frontend.loop.prober.Watchers(id))
					}
				}()
				took := m.within(20*time.Second, "known to be cut off", passes(dynmesh.ReasonUnreachable))
				t.Logf("known to be cut off after %v", took)
				rounds := 5
				if end == "healed" {
					rounds = 75 // longer than members that are dead are kept
				}
				for n := range rounds {
					said := dynmesh.Fail
					if n%2 == 0 {
						said = dynmesh.Pass
					}
					victim.Observe(canaryOf(id, "generate", said))
					m.pass(time.Second)
					key := dynmesh.ObservationKey{Observer: victim.Self(), Subject: canaryOf(id, "generate", said).Subject}
					m.within(10*time.Second, "its word arrives", func() bool { frontend.read(); return frontend.observations[key].Finding == said })
					passes(dynmesh.ReasonUnreachable)() // or it has failed
				}
				m.within(20*time.Second, "still known to be cut off", passes(dynmesh.ReasonUnreachable))
				for _, p := range all {
					if p != victim {
						p.read()
						for key, o := range p.paths {
							if o.Finding == dynmesh.Fail {
								t.Errorf("%s says %+v of %s", key.Observer.ID, o, key.Subject.ID)
							}
						}
					}
				}
				if victim.read(); !victim.health.Shut || !strings.Contains(victim.log.String(), "port of gossip, though it reaches them") {
					t.Errorf("it does not know:\n%s", victim.log)
				}
				fails := func() bool {
					views := frontend.views(worker(id))
					return len(views) > 0 && !slices.ContainsFunc(valuesOf(views), func(o dynmesh.Observation) bool { return o.Finding != dynmesh.Fail })
				}
				switch end {
				case "healed":
					m.set(func() { victim.host.cutPort = 0 })
					took = m.within(20*time.Second, "as before", passes(""))
					m.within(20*time.Second, "all agree, and it knows", func() bool {
						victim.read()
						return !victim.health.Shut && frontend.state(id) == dynmesh.Alive && agree(all...)
					})
				case "killed":
					m.kill(victim)
					took = m.within(12*time.Second, "found to be dead", fails)
				case "vanished":
					m.set(func() { victim.host.gone = true })
					took = m.within(15*time.Second, "found to have vanished", fails)
				case "frozen":
					m.set(func() { victim.host.paused = true })
					took = m.within(15*time.Second, "found to be frozen", fails)
					m.set(func() { victim.host.paused = false })
				}
				t.Logf("%s: after %v", end, took)
			})
		})
	}
}

// A frontend whose workers all stand still hears nobody, as one whose own port is shut. Its word is
// all there is: it comes after three to four seconds, and once in a hundred after ten. Who took its
// own port for shut would wait until memberlist has given all of them up.
func TestAllOthersStandStill(t *testing.T) {
	t.Parallel()
	var times []time.Duration
	for range 5 {
		inBubble(t, 1, func(m *mesh) {
			frontend, all := m.fleet(2)
			defer m.endAll()
			m.pass(5 * time.Second)
			still := func(paused bool) {
				m.set(func() {
					for _, p := range all {
						if p != frontend {
							p.host.paused = paused
						}
					}
				})
			}
			still(true)
			times = append(times, m.within(time.Minute, "found to stand still", func() bool {
				for _, p := range all {
					if p != frontend && frontend.views(worker(p.Self().ID))[frontend.Self().ID].Finding != dynmesh.Fail {
						return false
					}
				}
				return true
			}))
			still(false)
		})
	}
	if slices.Sort(times); times[len(times)/2] > 6*time.Second {
		t.Errorf("found to stand still after %v", times)
	}
}

func valuesOf(views map[dynmesh.InstanceID]dynmesh.Observation) (all []dynmesh.Observation) {
	for _, o := range views {
		all = append(all, o)
	}
	return all
}

// A process that did not run says so until it can know what has happened meanwhile; one that is a
// moment late does not.
func TestProcessThatDidNotRunSaysSo(t *testing.T) {
	p, err := newPool(Config{Role: dynmesh.RoleFrontend, Identity: identityOf(1), Bind: "10.0.0.1:1"}, newFabric(1).host(1), belongsTo)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	p.Changed()
	l, now := p.loop, time.Now()
	l.hearing.next = now
	looks := func(after, want time.Duration) {
		t.Helper()
		now = now.Add(after)
		l.listen(now)
		l.publishHealth()
		if got := p.metrics.state.Load().health.Stopped; got != want {
			t.Errorf("late by %v: it says that it did not run for %v, want %v", after, got, want)
		}
	}
	looks(0, 0)
	looks(listenInterval+time.Second, 0)
	looks(listenInterval+30*time.Second, 30*time.Second)
	looks(listenInterval, 30*time.Second)
	for range catchUp / listenInterval {
		l.listen(now)
		now = now.Add(listenInterval)
	}
	looks(0, 0)
}

// Who was found dead, and comes back with its port of gossip cut off, cannot be asked whether it
// has: that it goes on to refute its death is what brings it back.
func TestDeadMemberComesBackWithItsPortCutOff(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		frontend, all := m.fleet(5)
		defer m.endAll()
		victim := all[2]
		id := victim.Self().ID
		m.pass(5 * time.Second)
		m.set(func() { victim.host.gone = true })
		m.within(30*time.Second, "dead", func() bool { return frontend.state(id) == dynmesh.Dead })
		m.pass(10 * time.Second)
		m.set(func() { victim.host.gone, victim.host.cutPort = false, 7946 })
		took := m.within(2*doubtFor, "back", func() bool {
			s := frontend.state(id) // nobody can ask it, so it is suspected again and again
			return s == dynmesh.Alive || s == dynmesh.Suspect
		})
		t.Logf("back after %v", took)
	})
}
