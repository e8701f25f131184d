package frontend

import (
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// All workers stand still at once, and one frontend is there to see it. Gossip takes half a minute
// to declare them dead, because it waits for members that are gone to confirm it.
func TestAllButThisFrontendAreLost(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, c := r.trio()
		finds := func(k dynmesh.InstanceKey, f dynmesh.Finding, reason dynmesh.Reason) {
			o := r.next(testkit.Path(k.ID, 0, 0, f))
			o.Observer, o.Reason = r.pool.Self(), reason
			r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{o}})
		}

		finds(a, dynmesh.Fail, dynmesh.ReasonFrozen)
		finds(b, dynmesh.Fail, dynmesh.ReasonTimeout)
		r.want(a, "ready", "1 of 2 watchers cannot reach it") // c may be right
		finds(c, dynmesh.Fail, dynmesh.ReasonFrozen)
		r.want(a, "unreachable", "no other member is left that could reach it")
		r.want(b, "ready", "its only watcher cannot reach it") // this frontend may be what is cut off
		r.want(c, "unreachable", "no other member is left that could reach it")

		finds(b, dynmesh.Pass, "")
		r.want(a, "ready", "1 of 2 watchers cannot reach it") // b is there again, and still says that it reaches it
		r.member(b.ID, dynmesh.Dead)
		r.want(a, "unreachable", "no other member is left that could reach it")
	})
}
