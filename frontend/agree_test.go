package frontend

import (
	"math/rand/v2"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Whatever happens, /mesh, /ready, the metrics and gRPC health tell the same.
func TestAllTellTheSame(t *testing.T) {
	const seed, steps = 1, 60
	expecting(t, "dyn://d.b.g>=3,dyn://n.0.g>=3", false, func(r *rig) {
		random := rand.New(rand.NewPCG(seed, seed))
		r.trio()
		registered := map[dynmesh.InstanceKey]bool{}
		for range steps {
			switch u, g := testkit.Happens(random, registered); {
			case u != nil:
				r.send(*u)
			default:
				r.say(*g)
			}
			r.agree()
		}
	})
}
