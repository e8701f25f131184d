package frontend

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// Whatever happens, /mesh, /ready, the metrics and gRPC health tell the same.
func TestAllTellTheSame(t *testing.T) {
	const seed, steps = 1, 60
	expecting(t, "dyn://d.b.g>=3,dyn://n.0.g>=3", false, func(r *rig) {
		random := rand.New(rand.NewPCG(seed, seed))
		r.trio()
		registered := map[dynmesh.InstanceKey]bool{}
		for range steps {
			r.something(random, registered)
			r.agree()
		}
	})
}

// something has one of the things happen that a mesh can see.
func (r *rig) something(random *rand.Rand, registered map[dynmesh.InstanceKey]bool) {
	k := key("n", fmt.Sprint(random.IntN(4)), "g", uint64(1+random.IntN(200)))
	switch random.IntN(6) {
	case 0, 1: // many at once, so that chunks are made and cut
		u := synced()
		first := random.IntN(200)
		for n := first; n < first+random.IntN(150); n++ {
			k.ID = dynmesh.InstanceID(n + 1)
			if registered[k] = !registered[k]; registered[k] {
				u.Puts = append(u.Puts, httpInstance(k))
			} else {
				u.Deletes = append(u.Deletes, k)
			}
		}
		r.send(u)
	case 2:
		r.member(k.ID, []dynmesh.MemberState{dynmesh.Alive, dynmesh.Dead, dynmesh.Suspect}[random.IntN(3)])
	case 3:
		r.say(dynmesh.GossipUpdate{Forgotten: []dynmesh.Observer{{ID: k.ID, Epoch: 1}}})
	case 4:
		r.canary(k, random.IntN(2) == 0)
	case 5:
		r.send(dynmesh.RegistryUpdate{State: []dynmesh.SyncState{dynmesh.Stale, dynmesh.Synced}[random.IntN(2)], Since: time.Now()})
	}
}
