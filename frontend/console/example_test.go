package console_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/console"
)

func ExampleStatus() {
	now := time.Date(2026, 11, 22, 10, 0, 3, 0, time.UTC)
	mesh := &client.Mesh{
		Discovery: client.Discovery{State: client.State(dynmesh.Synced)},
		Gossip:    client.Gossip{Members: 2, Alive: 2},
		Endpoints: []client.Endpoint{{Name: "dyn://dynamo.backend.generate", Registered: 1, Instances: []client.Instance{
			{ID: 0x1f, Verdict: "notready", Registered: true, Since: now.Add(-time.Minute), Reasons: []string{"its own canaries have failed since 2026-11-22T10:00:00.000Z"}},
		}}},
	}
	fmt.Print(console.Status(console.Snapshot{Frontend: "http://localhost:8000", Mesh: mesh}, now, console.Style{}))
	// Output:
	// frontend  http://localhost:8000
	// registry  synced
	// gossip    2 members, 2 alive
	// ready     unknown: this frontend has no /ready
	//
	// ENDPOINT                       READY  REGISTERED  EXPECTED
	// dyn://dynamo.backend.generate      0           1
	//
	// ENDPOINT                       INSTANCE  VERDICT   FOR    REASON
	// dyn://dynamo.backend.generate  1f        notready  1m00s  its own canaries have failed since 2026-11-22T10:00:00.000Z (3s ago)
}
