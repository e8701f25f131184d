package api

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
)

// Whatever happens between two versions, what is sent of it makes the one of the other.
func TestDeltaLeadsFromOneToTheOther(t *testing.T) {
	const seed, steps = 1, 120
	random := rand.New(rand.NewPCG(seed, seed))
	k := sample(t)
	last := k.builder.Snapshot().Mesh
	known := replicaOf(t, content(last.Identity))
	registered := map[dynmesh.InstanceKey]bool{}
	for step := range steps {
		for range 1 + random.IntN(3) { // several versions apart
			k.something(random, registered)
		}
		now := k.builder.Snapshot().Mesh
		data := string(snapshot.Delta(last, now))
		known.apply(t, data)
		if !known.equals(t, content(now.Identity)) {
			t.Fatalf("step %d: got %v after\n%s\nwant %s", step, known, data, content(now.Identity))
		}
		last = now
	}
}

// something has one of the things happen that a mesh can see.
func (k *known) something(random *rand.Rand, registered map[dynmesh.InstanceKey]bool) {
	of := key("n", fmt.Sprint(random.IntN(4)), "g", uint64(1+random.IntN(200)))
	switch random.IntN(6) {
	case 0, 1: // many at once, so that chunks are made and cut
		u := synced()
		first := random.IntN(200)
		for n := first; n < first+random.IntN(150); n++ {
			of.ID = dynmesh.InstanceID(n + 1)
			if registered[of] = !registered[of]; registered[of] {
				u.Puts = append(u.Puts, httpInstance(of))
			} else {
				u.Deletes = append(u.Deletes, of)
			}
		}
		k.discover(u)
	case 2:
		state := []dynmesh.MemberState{dynmesh.Alive, dynmesh.Dead, dynmesh.Suspect}[random.IntN(3)]
		k.gossip(dynmesh.GossipUpdate{Members: []dynmesh.Member{{Observer: dynmesh.Observer{ID: of.ID, Epoch: 1}, Role: dynmesh.RoleWorker, State: state, Since: time.Now()}}})
	case 3:
		k.gossip(dynmesh.GossipUpdate{Forgotten: []dynmesh.Observer{{ID: of.ID, Epoch: 1}}})
	case 4:
		k.gossip(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{canaryOf(of, random.Uint64N(1000), random.IntN(2) == 0)}})
	case 5:
		k.discover(dynmesh.RegistryUpdate{State: []dynmesh.SyncState{dynmesh.Stale, dynmesh.Synced}[random.IntN(2)], Since: time.Now()})
	}
}
