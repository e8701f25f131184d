package output

import (
	"fmt"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// BenchmarkDecide is one change of a verdict among many instances.
func BenchmarkDecide(b *testing.B) {
	for _, size := range []struct{ endpoints, instances int }{{100, 100}, {1000, 100}, {1, 10_000}} {
		b.Run(fmt.Sprintf("%dx%d", size.endpoints, size.instances), func(b *testing.B) {
			p, h := NewPolicy(Config{}), NewHub([]string{"one"}, false)
			now, status := time.Now(), Status{Registry: dynmesh.Synced}
			instance := func(e, n int, failing bool) Instance {
				name := fmt.Sprintf("e%d", e)
				key := dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "d", Component: "b", Name: name}, ID: dynmesh.InstanceID(e*size.instances + n + 1)}
				return Instance{
					Key: key, Endpoint: key.Endpoint.String(), Addr: fmt.Sprintf("10.%d.%d.%d:80", e>>8, e&255, n), Scheme: "http", Verdict: dynmesh.Ready,
					Registered: true, Observed: true, Failing: failing,
				}
			}
			for e := range size.endpoints {
				for n := range size.instances {
					p.Put(instance(e, n, false), now)
				}
			}
			h.Publish(p.Decide(status, now), now)
			for i := 0; b.Loop(); i++ {
				now = now.Add(time.Millisecond)
				p.Put(instance(0, 0, i%2 == 0), now)
				a := p.Decide(status, now)
				if a == nil {
					b.Fatal("no change")
				}
				h.Publish(a, now)
			}
		})
	}
}
