package gossip

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/table"
)

func TestHealedPartitionAgreesWithinTenSeconds(t *testing.T) {
	t.Parallel()
	for _, length := range []time.Duration{20 * time.Second, time.Minute, 5 * time.Minute} {
		t.Run(length.String(), func(t *testing.T) {
			inBubble(t, 1, func(m *mesh) {
				peers := m.starts(6, nil)
				m.joined(peers...)
				for _, p := range peers {
					p.Observe(canaryOf(p.Self().ID, "generate", dynmesh.Pass))
				}
				m.within(3*time.Second, "agreed", func() bool { return agree(peers...) && len(peers[0].observations) == 6 })
				m.cut(1, peers[3].host, peers[4].host, peers[5].host)
				m.pass(length / 2)
				peers[0].Observe(canaryOf(1, "generate", dynmesh.Fail))
				peers[5].Observe(canaryOf(6, "another", dynmesh.Pass))
				m.pass(length / 2)
				for _, p := range peers {
					if n := p.alive(); n != 3 {
						t.Errorf("%s sees %d members alive while cut off", p.Self().ID, n)
					}
				}
				m.cut(0, peers[3].host, peers[4].host, peers[5].host)
				d := m.within(10*time.Second, "all agree", func() bool {
					if !agree(peers...) || len(peers[0].observations) != 7 {
						return false
					}
					return !slices.ContainsFunc(peers, func(p *peer) bool { return p.alive() != 6 })
				})
				t.Logf("agreed after %v", d)
				m.pass(time.Minute)
				if !agree(peers...) || len(peers[0].observations) != 7 || peers[5].alive() != 6 {
					t.Error("a minute later they do not agree any longer")
				}
			})
		})
	}
}

// Two halves that have much to say to each other: more than packets carry in that time.
func TestHealedPartitionWithManyInstances(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		const members, each = 12, 80
		peers := m.starts(members, nil)
		m.joined(peers...)
		var other []*host
		for _, p := range peers[members/2:] {
			other = append(other, p.host)
		}
		m.cut(1, other...)
		m.within(time.Minute, "cut", func() bool { return peers[0].alive() == members/2 && peers[members-1].alive() == members/2 })
		for _, p := range peers {
			for i := range each {
				p.Observe(canaryOf(p.Self().ID, string(rune('a'+i%26))+string(rune('a'+i/26)), dynmesh.Pass))
			}
		}
		m.pass(30 * time.Second)
		m.cut(0, other...)
		d := m.within(10*time.Second, "all agree", func() bool {
			m.pass(90 * time.Millisecond)
			return agree(peers...) && len(peers[0].observations) == members*each
		})
		t.Logf("agreed after %v", d)
	})
}

// What one member learns in bulk the others learn at once, and not when packets have carried it or
// everybody has become quiet.
func TestMuchThatWasLearntSpreads(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(6, nil)
		m.joined(peers...)
		m.pass(10 * time.Second)
		stranger := table.New(dynmesh.Observer{ID: 99, Epoch: 1}, keysOf(99))
		const many = 2500
		for i := range many {
			if _, err := stranger.Observe(canaryOf(99, fmt.Sprint("e", i), dynmesh.Pass)); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range compounds(peers[1].Self(), everythingOf(stranger)) {
			peers[0].inbox.message(b)
		}
		// The first one tells three, each of whom tells three: whether that is everybody is chance,
		// and the rest takes a comparison more.
		m.within(time.Second, "known to four", func() bool {
			n := 0
			for _, p := range peers {
				if p.read(); len(p.observations) == many {
					n++
				}
			}
			return n >= 4
		})
		m.within(10*time.Second, "known to all", func() bool { return agree(peers...) && len(peers[0].observations) == many })
	})
}
