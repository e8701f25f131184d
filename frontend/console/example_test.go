package console_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/console"
	"github.com/dynmesh/dynmesh/frontend/mesh"
)

func ExampleStatus() {
	now := time.Date(2026, 11, 22, 10, 0, 3, 0, time.UTC)
	var m client.Mesh
	m.Discovery.State = dynmesh.Synced
	m.Gossip = mesh.Gossip{Members: 2, Alive: 2}
	m.Endpoints = []mesh.Endpoint{{
		EndpointHead: mesh.EndpointHead{Name: "dyn://dynamo.backend.generate", Registered: 1},
		Instances: []mesh.Instance{{
			ID: 0x1f, Verdict: dynmesh.NotReady, Registered: true, Since: mesh.Time{Time: now.Add(-time.Minute)},
			Reasons: []string{"its own canaries have failed since 2026-11-22T10:00:00.000Z"},
		}},
	}}
	fmt.Print(console.Status(console.Snapshot{Frontend: "http://localhost:8000", Mesh: &m}, now, console.Style{}))
	// Output:
	// frontend  http://localhost:8000
	// registry  synced
	// gossip    2 members, 2 alive
	// ready     unknown: this frontend has no /ready
	//
	// ENDPOINT                       READY  REGISTERED  EXPECTED
	// dyn://dynamo.backend.generate      0           1
	//
	// ENDPOINT                       INSTANCE  VERDICT   FOR    HOST  REASON
	// dyn://dynamo.backend.generate  1f        notready  1m00s  -     its own canaries have failed since 2026-11-22T10:00:00.000Z (3s ago)
}
