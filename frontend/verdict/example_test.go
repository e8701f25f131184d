package verdict_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/verdict"
)

// A worker that etcd still lists, and that gossip has declared dead.
func ExampleOf() {
	noticed := time.Date(2026, 11, 22, 10, 0, 0, 120e6, time.UTC)
	v := verdict.Of(verdict.Evidence{
		Registry:   verdict.Etcd,
		Registered: true,
		Read:       true,
		Gossip:     true,
		Worker:     verdict.Worker{State: dynmesh.Dead, Since: noticed, LeaseTTL: 10 * time.Second},
		Paths: []verdict.Path{
			{By: "worker 1f on host-1", State: dynmesh.Alive, Finding: dynmesh.Fail, Reason: dynmesh.ReasonRefused, At: noticed},
		},
	})
	fmt.Println(v.State)
	for _, reason := range v.Reasons {
		fmt.Println("-", reason)
	}
	// Output:
	// unreachable
	// - gossip declared its worker dead at 2026-11-22T10:00:00.120Z, and no watcher reaches it
	// - its only watcher cannot reach it: worker 1f on host-1 since 2026-11-22T10:00:00.120Z (refused)
	// - its lease ends by about 2026-11-22T10:00:10Z, and etcd then drops it
}
