package output_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/output"
)

// Two workers serve an endpoint. One of them fails, then the other one, too.
func ExamplePolicy() {
	p := output.NewPolicy(output.Config{MinHealthy: output.DefaultFloor()})
	now := time.Now()
	put := func(id dynmesh.InstanceID, v dynmesh.VerdictState) {
		p.Put(output.Instance{
			Key:      dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}, ID: id},
			Endpoint: "dyn://dynamo.backend.generate", Addr: fmt.Sprintf("10.0.0.%d:8000", id), Scheme: "http",
			Verdict: v, Registered: true, Observed: true,
		}, now)
	}
	decide := func() {
		a := p.Decide(output.Status{Registry: dynmesh.Synced}, now)
		for _, s := range a.Target("dyn://dynamo.backend.generate").Servers {
			fmt.Println(s.Addr, s.State, s.State.Weight())
		}
		for _, w := range p.Warnings() {
			fmt.Println(w)
		}
	}
	put(1, dynmesh.Ready)
	put(2, dynmesh.Ready)
	decide()
	put(2, dynmesh.NotReady)
	decide()
	put(1, dynmesh.Unreachable)
	decide()
	// Output:
	// 10.0.0.1:8000 in 100
	// 10.0.0.2:8000 in 100
	// 10.0.0.1:8000 in 100
	// 10.0.0.2:8000 out 0
	// 10.0.0.1:8000 in 100
	// 10.0.0.2:8000 in 100
	// outputs: dyn://dynamo.backend.generate: 2 that would be withdrawn stay in: 0 of 2 work, and the floor of 50% is 1
}
