package gossip

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// shared starts n peers whose keys somebody else keeps.
func shared(m *mesh, n int) (peers []*peer, keyrings []*Keyring) {
	peers = m.starts(n, func(c *Config) {
		c.Keyring = NewSharedKeyring()
		keyrings = append(keyrings, c.Keyring)
	})
	return peers, keyrings
}

// Without the mesh's key a member says and hears nothing, in the clear least of all. Once it has
// it, it joins.
func TestPoolWaitsForTheKey(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers, keyrings := shared(m, 3)
		keyrings[0].Update([]string{key('a')}, nil)
		keyrings[1].Update([]string{key('a')}, nil)
		m.joined(peers[:2]...)
		late := peers[2]
		select {
		case <-late.Watched():
			t.Error("who has no key counts as watched, long before it must")
		default:
		}
		keyrings[2].Update(nil, errors.New("nobody may read it"))
		m.pass(keyTimeout + 2*time.Second)
		select {
		case <-late.Watched():
		default:
			t.Error("who waits for a key is held up for ever")
		}
		if got := late.metrics.state.Load().health.NoKey; got != "nobody may read it" {
			t.Errorf("it says of itself: %q", got)
		}
		if log := late.log.String(); !strings.Contains(log, "Gossip waits for the key") || !strings.Contains(log, "nobody may read it") || strings.Contains(log, "Gossip started") {
			t.Errorf("it logs\n%s", log)
		}
		if n := late.alive(); n > 0 || peers[0].alive() != 2 {
			t.Errorf("it sees %d members, others %d", n, peers[0].alive())
		}
		late.Observe(dynmesh.Report{Subject: dynmesh.Subject{ID: 3}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass})
		keyrings[2].Update([]string{key('a')}, nil)
		m.joined(peers...)
		for _, p := range peers {
			if rejected := rejectedBy(p); len(rejected) > 0 {
				t.Errorf("%s has rejected %v", p.Self().ID, rejected)
			}
		}
		if got := late.metrics.state.Load().health.NoKey; got != "" {
			t.Errorf("with a key it says of itself: %q", got)
		}
		// What is no key changes nothing.
		keyrings[0].Update([]string{"garbage"}, nil)
		keyrings[0].Update(nil, nil)
		m.pass(time.Minute)
		if n := peers[0].alive(); n != 3 {
			t.Errorf("it sees %d members after garbage", n)
		}
	})
}

// A pool that ends while it waits ends, and leaves nothing behind.
func TestPoolEndsWithoutAKey(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers, _ := shared(m, 1)
		m.pass(time.Second)
		peers[0].end()
		<-peers[0].ended
		if peers[0].err != nil {
			t.Error(peers[0].err)
		}
	})
}

// A key is replaced while all members say something again and again. All of it arrives, and nothing
// is refused, though members take the steps at different times.
func TestRotationLosesNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		const n = 5
		peers, keyrings := shared(m, n)
		for _, k := range keyrings {
			k.Update([]string{key('a')}, nil)
		}
		m.joined(peers...)
		said := 0
		say := func() {
			said++
			for _, p := range peers {
				p.Observe(dynmesh.Report{
					Subject: dynmesh.Subject{ID: p.Self().ID, Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "c", Name: "e"}},
					Kind:    dynmesh.KindCanary, Finding: dynmesh.Fail, Reason: dynmesh.ReasonStatus, Detail: fmt.Sprint(said),
				})
			}
			known := func() bool {
				for _, p := range peers {
					p.read()
					for _, of := range peers {
						o := p.observations[dynmesh.ObservationKey{Observer: of.Self(), Subject: dynmesh.Subject{
							ID: of.Self().ID, Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "c", Name: "e"},
						}}]
						if p != of && o.Detail != fmt.Sprint(said) {
							return false
						}
					}
				}
				return true
			}
			m.within(restlessFor+10*time.Second, "all know what all have said", known) // mostly a second
		}
		say()
		for _, step := range [][]string{{key('a'), key('b')}, {key('b'), key('a')}, {key('b')}} {
			for _, k := range keyrings {
				k.Update(step, nil)
				say()
			}
		}
		for _, p := range peers {
			if rejected := rejectedBy(p); len(rejected) > 0 {
				t.Errorf("%s has rejected %v", p.Self().ID, rejected)
			}
		}
	})
}

// Who has been given no keyring has a key that nobody else has.
func TestKeyIsTheDefault(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		first := m.start(1, nil)
		alone := m.start(2, func(c *Config) { c.Keyring = nil })
		m.pass(time.Minute)
		if first.alive() != 1 || alone.alive() != 1 {
			t.Errorf("one without a key sees %d, one with its own %d", first.alive(), alone.alive())
		}
		if rejected := rejectedBy(first); rejected["encrypted"] == 0 {
			t.Errorf("got %v, want what is encrypted to be refused", rejected)
		}
	})
}
