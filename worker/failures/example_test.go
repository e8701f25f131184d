package failures_test

import (
	"context"
	"fmt"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/worker/failures"
)

func Example() {
	w := failures.New(canary.Endpoint{Activity: func() canary.Activity { return canary.Activity{} }})
	w.Failed(&dynmesh.Failure{Reason: dynmesh.ReasonStatus, Detail: "status 500"})
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a worker runs it for as long as it serves
	w.Run(ctx, func(sample string) { fmt.Println("told to the mesh:", sample) })
	fmt.Println(w.Measure() == dynmesh.MeasureFailures)
	// Output: true
}
