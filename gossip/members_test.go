package gossip

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/swim"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// Packets leave somebody out now and then: memberlist makes up for it after half a minute, hints do
// within seconds.
func TestWhoMissedAMemberHearsOfItSoon(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(6, nil)
		m.joined(peers...)
		told := probe.NewAssignment(peers[0].self.ID) // late tells its watchers itself
		for _, p := range peers {
			told.Join(p.self.ID)
		}
		told.Add(7)
		n := 1 + slices.IndexFunc(peers[1:], func(p *peer) bool { return !slices.Contains(told.Of(7), p.self.ID) })
		m.set(func() { peers[n].host.udpDown = true })
		late := m.start(7, nil)
		m.pass(3 * time.Second)
		if peers[n].state(7) != "" || late.alive() != 7 {
			m.Skip("memberlist's push/pull came in between")
		}
		m.set(func() { peers[n].host.udpDown = false })
		m.within(7*time.Second, "known to the one who missed it", func() bool { return peers[n].state(7) == dynmesh.Alive })
	})
}

func TestSeedsAreEnoughToMeet(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		var asked atomic.Int64
		peers := m.starts(4, func(c *Config) {
			c.Join = nil
			c.Seeds = func(context.Context) ([]string, error) {
				if asked.Add(1) <= 4 {
					return nil, errors.New("etcd is away")
				}
				return []string{"nonsense", netip4(1) + ":7946", netip4(2) + ":7946", netip4(3) + ":7946", netip4(4) + ":7946"}, nil
			}
		})
		m.joined(peers...)
		before := asked.Load()
		m.pass(5 * time.Minute)
		if n := asked.Load() - before; n < 4*8 || n > 4*12 {
			t.Errorf("seeds were asked for %d times in 5 min by 4 members that are not alone: want about 10 times each", n)
		}
	})
}

// Of many that are named, most have just died. Those who start now, and find each other first, are
// known to those who live on nevertheless.
func TestSeedsThatDiedHideNobody(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{false, true} { // they refuse, or their hosts are gone
		t.Run(fmt.Sprintf("silent=%v", silent), func(t *testing.T) {
			t.Parallel()
			inBubble(t, 1, func(m *mesh) {
				var seeds []string
				for n := 1; n <= 16; n++ {
					seeds = append(seeds, netip4(n)+":7946")
				}
				all := func(c *Config) {
					c.Join, c.Seeds = nil, func(context.Context) ([]string, error) { return seeds, nil }
				}
				lives := m.start(1, all)
				for n := 2; n <= 13; n++ {
					h := m.host(n)
					m.set(func() { h.gone = silent })
				}
				m.pass(40 * time.Second) // until its own searches are far apart
				var young []*peer
				for n := 14; n <= 16; n++ {
					young = append(young, m.start(n, all))
				}
				bound := 3 * time.Second
				if silent {
					bound = 12/seekJoins*5*time.Second + 5*time.Second // what it takes to try all of them
				}
				m.within(bound, "they know each other", func() bool {
					return lives.alive() == 4 && !slices.ContainsFunc(young, func(p *peer) bool { return p.alive() != 4 })
				})
			})
		})
	}
}

func TestSeedsThatHangKeepNobodyFromRejoining(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(2, func(c *Config) {
			c.Seeds = func(ctx context.Context) ([]string, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		})
		m.within(12*time.Second, "joined", func() bool { return peers[0].alive() == 2 && peers[1].alive() == 2 })
	})
}

func TestKilledMemberIsDead(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(5, nil)
		m.joined(peers...)
		peers[4].Observe(canaryOf(5, "generate", dynmesh.Pass))
		m.within(3*time.Second, "known to all", func() bool { return agree(peers...) && len(peers[0].observations) == 1 })
		m.kill(peers[4])
		alive := peers[:4]
		suspected := false
		m.within(20*time.Second, "dead for all", func() bool {
			suspected = suspected || slices.ContainsFunc(alive, func(p *peer) bool { return p.state(5) == dynmesh.Suspect })
			return !slices.ContainsFunc(alive, func(p *peer) bool { return p.state(5) != dynmesh.Dead })
		})
		if !suspected {
			t.Error("nobody has suspected it before")
		}
		if h := peers[0].health; h.Alive != 4 || h.Dead != 1 || h.Suspect != 0 {
			t.Errorf("health is %+v", h)
		}
		if len(peers[0].observations) != 1 {
			t.Error("what it said is gone at once, and the reader cannot say what was")
		}
		m.within(keepDead+2*time.Second, "forgotten", func() bool {
			return !slices.ContainsFunc(alive, func(p *peer) bool { return p.state(5) != "" || len(p.observations) > 0 })
		})
		m.pass(3 * time.Minute) // and nobody brings it back
		if !agree(alive...) || len(peers[0].observations) != 0 || peers[0].state(5) != "" {
			t.Errorf("it has come back: %v", peers[0].observations)
		}
	})
}

func TestMemberThatLeavesHasLeft(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(5, nil)
		m.joined(peers...)
		begun := time.Now()
		peers[4].end()
		if <-peers[4].ended; peers[4].err != nil {
			t.Errorf("Run returned %v", peers[4].err)
		}
		if d := time.Since(begun); d > leaveTimeout+100*time.Millisecond {
			t.Errorf("it took %v to leave", d)
		}
		m.within(time.Second, "left for all", func() bool {
			return !slices.ContainsFunc(peers[:4], func(p *peer) bool { return p.state(5) != dynmesh.Left })
		})
		m.within(keepLeft+2*time.Second, "forgotten", func() bool { return peers[0].state(5) == "" })
	})
}

// A worker says that it drains long before it goes.
func TestMemberThatDrainsHasLeftHoweverItGoes(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(4, nil)
		m.joined(peers...)
		peers[3].Observe(dynmesh.Report{
			Subject: dynmesh.Subject{ID: 4}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true,
		})
		m.within(3*time.Second, "known to all", func() bool { return agree(peers...) && len(peers[0].observations) == 1 })
		m.kill(peers[3])
		m.within(20*time.Second, "left for all", func() bool {
			return !slices.ContainsFunc(peers[:3], func(p *peer) bool { return p.state(4) != dynmesh.Left })
		})
	})
}

func TestMembersLeaveTogether(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(6, nil)
		m.joined(peers...)
		begun := time.Now()
		for _, p := range peers {
			p.end()
		}
		for _, p := range peers {
			<-p.ended
		}
		if d := time.Since(begun); d > leaveTimeout {
			t.Errorf("it took %v", d)
		}
	})
}

func TestRestartInPlaceIsAnotherLife(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(4, nil)
		m.joined(peers...)
		peers[3].Observe(canaryOf(4, "old", dynmesh.Pass))
		m.within(3*time.Second, "known to all", func() bool { return agree(peers...) && len(peers[0].observations) == 1 })
		m.kill(peers[3])
		first := peers[3].Self()
		again := m.start(4, nil)
		begun := time.Now()
		m.within(5*time.Second, "the new life alive for all", func() bool {
			return !slices.ContainsFunc(peers[:3], func(p *peer) bool {
				p.read()
				return p.members[4].Observer != again.Self() || p.members[4].State != dynmesh.Alive
			})
		})
		t.Logf("took %v", time.Since(begun))
		for _, p := range peers[:3] {
			if len(p.observations) != 0 {
				t.Errorf("the former life's observations stand: %v", p.observations)
			}
		}
		again.Observe(canaryOf(4, "new", dynmesh.Pass))
		survivors := append(slices.Clone(peers[:3]), again)
		for range 120 { // the former name dies meanwhile
			m.pass(time.Second)
			for _, p := range survivors {
				if p.read(); p.members[4].Observer != again.Self() || p.members[4].State == dynmesh.Dead {
					t.Fatalf("%s holds %v for member 4; the first life was %v", p.Self().ID, p.members[4], first)
				}
			}
		}
		if !agree(survivors...) || len(survivors[0].observations) != 1 {
			t.Errorf("observations are %v", survivors[0].observations)
		}
	})
}

func TestSuspicionEndsWhenTheMemberIsBack(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(3, nil)
		m.joined(peers...)
		m.set(func() { peers[2].host.gone = true })
		m.within(10*time.Second, "suspected", func() bool { return peers[0].state(3) == dynmesh.Suspect || peers[1].state(3) == dynmesh.Suspect })
		m.set(func() { peers[2].host.gone = false })
		m.within(3*time.Second, "alive again", func() bool { return peers[0].state(3) == dynmesh.Alive && peers[1].state(3) == dynmesh.Alive })
		m.pass(time.Minute)
		if s := peers[0].state(3); s != dynmesh.Alive {
			t.Errorf("a minute later it is %s", s)
		}
	})
}

// memberlist does not say when a suspicion is over. Two of the others hear from the member five
// times a second; the rest ask.
func TestSuspiciousMemberIsAsked(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(12, nil)
		m.joined(peers...)
		for _, p := range peers[:11] {
			p.inbox.signal(memberName(peers[11].Self()), swim.Suspected)
		}
		synctest.Wait()
		suspects := func() int {
			n := 0
			for _, p := range peers[:11] {
				if p.state(12) == dynmesh.Suspect {
					n++
				}
			}
			return n
		}
		if n := suspects(); n != 11 {
			t.Errorf("%d suspect it", n)
		}
		m.within(2*housekeepingInterval, "suspected by nobody", func() bool { return suspects() == 0 })
	})
}

func TestMemberWithoutUDPIsDegraded(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(3, nil)
		m.joined(peers...)
		m.set(func() { peers[2].host.udpDown = true })
		m.within(30*time.Second, "degraded", func() bool { return peers[0].alive() > 0 && peers[0].health.UDPDegraded == 1 })
		m.pass(2 * time.Minute)
		if s := peers[0].state(3); s != dynmesh.Alive {
			t.Errorf("it is %s", s)
		}
		peers[2].Observe(canaryOf(3, "generate", dynmesh.Pass))
		m.within(40*time.Second, "known by TCP", func() bool { return agree(peers...) && len(peers[0].observations) == 1 })
		m.set(func() { peers[2].host.udpDown = false })
		m.within(time.Minute, "well again", func() bool { p := peers[0]; p.read(); return p.health.UDPDegraded == 0 })
	})
}

func TestStrangersAreForgotten(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(2, nil)
		m.joined(peers...)
		stranger := table.New(dynmesh.Observer{ID: 99, Epoch: 1}, keysOf(99))
		if _, err := stranger.Observe(canaryOf(99, "generate", dynmesh.Pass)); err != nil {
			t.Fatal(err)
		}
		for _, b := range everythingOf(stranger) {
			peers[0].inbox.message(b)
		}
		known := func(p *peer) bool {
			p.read()
			_, ok := p.observations[dynmesh.ObservationKey{Observer: dynmesh.Observer{ID: 99, Epoch: 1}, Subject: canaryOf(99, "generate", "").Subject}]
			return ok
		}
		m.within(3*time.Second, "known to both", func() bool { return known(peers[0]) && known(peers[1]) })
		m.within(keepUnknown+2*expiryInterval+time.Second, "forgotten", func() bool { return !known(peers[0]) && !known(peers[1]) })
		m.pass(2 * time.Minute)
		if known(peers[0]) || known(peers[1]) {
			t.Error("it has come back")
		}
	})
}

func TestMetadataReachesOthers(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		a := m.start(1, nil)
		b := m.start(2, func(c *Config) {
			c.Role, c.Service, c.LeaseTTL, c.Version = dynmesh.RoleFrontend, "10.9.9.9:8000", 10*time.Second, "v1.2.3"
		})
		m.joined(a, b)
		got := a.members[2]
		got.Since = time.Time{}
		want := dynmesh.Member{
			Observer: b.Self(), Role: dynmesh.RoleFrontend, Addr: b.Addr(), Service: "10.9.9.9:8000", Version: "v1.2.3",
			LeaseTTL: 10 * time.Second, State: dynmesh.Alive, PublicKey: PublicKey(identityOf(2)),
		}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if self := a.members[dynmesh.InstanceID(1)]; self.Observer != a.Self() || self.State != dynmesh.Alive {
			t.Errorf("of itself it knows %+v", self)
		}
	})
}
