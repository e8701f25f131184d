package api

import (
	"math/rand/v2"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/internal/testkit"
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
			switch u, g := testkit.Happens(random, registered); {
			case u != nil:
				k.discover(*u)
			default:
				k.gossip(*g)
			}
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
