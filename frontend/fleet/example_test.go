package fleet_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/fleet"
)

// A worker registers, joins, and is reached by nobody any more.
func Example() {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	self := dynmesh.Observer{ID: 0xf, Epoch: 1}
	f := fleet.New(fleet.Config{Gossip: true, Self: self}, now)
	tell := func() {
		for _, t := range f.Reconcile(now).Transitions {
			fmt.Printf("%s %s -> %s\n", t.At.Format(time.TimeOnly), t.From, t.To)
			for _, reason := range t.Reasons {
				fmt.Println("  because", reason)
			}
		}
	}

	worker := dynmesh.Instance{
		InstanceKey: dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "d", Component: "b", Name: "g"}, ID: 0xa},
		Transport:   dynmesh.HTTPTransport("http://10.0.0.1:9000/v1/rpc/g"),
	}
	f.Discover(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: now, Puts: []dynmesh.Instance{worker}})
	tell()

	now = now.Add(time.Second)
	f.Gossip(dynmesh.GossipUpdate{Members: []dynmesh.Member{{
		Observer: dynmesh.Observer{ID: worker.ID, Epoch: 1}, Role: dynmesh.RoleWorker, State: dynmesh.Dead, Since: now,
	}}})
	tell()
	// Output:
	// 10:00:00  -> ready
	//   because its worker does not run dynmesh: only its lease in etcd vouches for it
	// 10:00:01 ready -> unreachable
	//   because gossip declared its worker dead at 2026-11-22T10:00:01.000Z, and no watcher reaches it
	//   because its lease ends by itself, and etcd then drops it
}
