package frontend

import (
	"fmt"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestBlind(t *testing.T) {
	const s = time.Second
	type turn struct {
		at    time.Duration
		alone bool
	}
	for _, tt := range []struct {
		name         string
		turns        []turn
		asked        time.Duration
		gossip, loop time.Duration
	}{
		{"it turns, and hears others", []turn{{1 * s, false}, {6 * s, false}}, 8 * s, 0, 0},
		{"a turn is late", []turn{{1 * s, false}}, 10 * s, 0, 0},
		{"it does not turn", []turn{{1 * s, false}}, 71 * s, 0, 60 * s},
		{"it has never turned", nil, 70 * s, 0, 60 * s},
		{"it has heard nobody", []turn{{0, true}, {5 * s, true}, {60 * s, true}}, 61 * s, 61 * s, 0},
		{"it hears nobody any longer", []turn{{1 * s, false}, {5 * s, true}, {60 * s, true}}, 65 * s, 60 * s, 0},
		{"it hears others again", []turn{{1 * s, true}, {60 * s, false}}, 65 * s, 0, 0},
		{"it hears nobody once more", []turn{{1 * s, true}, {60 * s, false}, {62 * s, true}}, 65 * s, 3 * s, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Unix(1e9, 0)
			senses := newSenses(began)
			for _, turn := range tt.turns {
				senses.observe(began.Add(turn.at), turn.alone)
			}
			gossip, loop := senses.blind(began.Add(tt.asked))
			if gossip.Round(s) != tt.gossip || loop != tt.loop {
				t.Errorf("got gossip %v, loop %v, want %v, %v", gossip, loop, tt.gossip, tt.loop)
			}
		})
	}
}

// A loop to which nothing comes turns all the same; one that waits for ever for something shows,
// and so does a frontend that hears nobody.
func TestBlindFrontend(t *testing.T) {
	meshed(t, false, func(r *rig) {
		r.trio()
		want := func(gossip, loop time.Duration) {
			t.Helper()
			g, l := r.f.loop.senses.blind(time.Now())
			if got, want := fmt.Sprint(g.Truncate(time.Minute), l.Truncate(time.Minute)), fmt.Sprint(gossip, loop); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		r.rest(time.Hour)
		want(0, 0)
		r.say(dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 1, Dead: 3}, Members: []dynmesh.Member{
			testkit.Worker(0xa, dynmesh.Dead), testkit.Worker(0xb, dynmesh.Dead), testkit.Worker(0xc, dynmesh.Dead),
		}})
		r.rest(10*time.Minute + time.Second)
		want(10*time.Minute, 0)
		r.say(dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 4}})
		want(0, 0)

		stuck := make(chan struct{})
		r.pool.mu.Lock()
		r.pool.stuck = stuck
		r.pool.mu.Unlock()
		r.say(dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 4}})
		r.rest(5*time.Minute + 2*heartbeat)
		want(0, 5*time.Minute)
		close(stuck)
		r.rest(time.Second)
		want(0, 0)
	})
}
