package quality_test

import (
	"context"
	"fmt"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/answers"
	"github.com/dynmesh/dynmesh/worker/quality"
)

func Example() {
	c, err := quality.New(quality.Config{
		Revision: func(context.Context) (uint64, error) { return answers.Revision("llama", "0.32"), nil },
		Ask: func(context.Context, int) (answers.Sample, error) {
			return answers.Sample{Tokens: []byte("Paris")}, nil // what the engine answers, by answers.Read
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	// worker.Worker.Measure has it run, and the mesh told what it says.
	fmt.Println(c.Measure() == dynmesh.MeasureAnswers)
	// Output: true
}
