package frontend

import (
	"testing"

	"github.com/dynmesh/dynmesh"
)

// A worker dies together with one that watches it, whose last word is that it reaches it: gossip takes seconds to say that
// this word is nobody's any longer.
func TestWorkersThatDieTogether(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, c := r.trio()
		const d, e = 0xd, 0xe
		r.say(dynmesh.GossipUpdate{Members: []dynmesh.Member{workerAs(d, 1, dynmesh.Alive), workerAs(e, 1, dynmesh.Alive)}})
		r.lost(a.ID, c.ID)
		r.lost(a.ID, d)
		r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(pathOf(a.ID, e, 0, dynmesh.Pass))}})
		r.want(a, "ready", "2 of 4 watchers cannot reach it")
		counts := func() map[string]bool {
			all := map[string]bool{}
			for _, o := range r.seen().of(a).Observations {
				all[o.Observer] = o.Counts
			}
			return all
		}
		if !counts()["b"] {
			t.Error("b is well, and what it says does not count")
		}

		r.lost(b.ID, c.ID)
		r.want(a, "unreachable", "2 of 3 watchers cannot reach it")
		if counts()["b"] || !counts()["e"] {
			t.Errorf("got %v, want that of b not to count", counts())
		}
		r.member(c.ID, dynmesh.Suspect) // then it may be c that is cut off
		r.want(a, "ready", "1 of 2 watchers cannot reach it")
		r.member(c.ID, dynmesh.Alive)
		r.want(a, "unreachable", "2 of 3 watchers cannot reach it")
		r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(pathOf(b.ID, c.ID, 0, dynmesh.Pass))}})
		r.want(a, "ready", "2 of 4 watchers cannot reach it")
		r.lost(b.ID, c.ID)
		r.want(a, "unreachable", "2 of 3 watchers cannot reach it")
		r.say(dynmesh.GossipUpdate{Withdrawn: []dynmesh.ObservationKey{{Observer: dynmesh.Observer{ID: c.ID, Epoch: 1}, Subject: dynmesh.Subject{ID: b.ID}}}})
		r.want(a, "unreachable", "2 of 3 watchers cannot reach it") // c says nothing of b now: that is no sign of life
		r.member(b.ID, dynmesh.Suspect)
		r.member(b.ID, dynmesh.Alive) // this one is
		r.want(a, "ready", "2 of 4 watchers cannot reach it")
	})
}
