package drill_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/drill"
)

func ExampleTable() {
	fmt.Print(drill.Table([]drill.Result{
		{Kind: drill.Killed, Wants: "unreachable", Verdict: dynmesh.Unreachable, Reason: "2 of 2 watchers cannot reach it", Took: 130 * time.Millisecond},
		{Kind: drill.Frozen, Wants: "unreachable", Verdict: dynmesh.Ready, Reason: "its canary passed", Took: 30 * time.Second, Problem: "the verdict is ready"},
	}))
	// Output:
	// KIND    WANTED       SECONDS  VERDICT      OK   REASON
	// killed  unreachable  0.13     unreachable  yes  2 of 2 watchers cannot reach it
	// frozen  unreachable  30.00    ready        no   the verdict is ready; its reason: its canary passed
}
