package canary_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
)

// generate is an endpoint of one's own.
func generate(_ context.Context, _ json.RawMessage, send func(chunk any) error) error {
	return send(map[string]string{"text": "hello"})
}

// A canary for one's own endpoint is one line.
func ExampleHandler() {
	err := canary.Handler(generate, json.RawMessage(`{"prompt":"Test"}`))(context.Background())
	fmt.Println(err)
	// Output: <nil>
}

// A probe may be any func, and Check says why it failed.
func ExampleCheck() {
	result := canary.Check(context.Background(), func(context.Context) error {
		return &dynmesh.Failure{Reason: dynmesh.ReasonEmpty, Detail: "no rows"}
	})
	fmt.Println(result.Failure)
	// Output: empty: no rows
}

// A monitor asks the endpoint when nobody else does.
func ExampleMonitor() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	monitor, err := canary.NewMonitor(canary.Config{OnChange: func(s canary.Status) {
		fmt.Println(s.Endpoint, "ready:", s.Ready, s.Finding)
		if s.Ready {
			cancel()
		}
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := monitor.Serve(canary.Endpoint{Name: "generate", Probe: canary.Handler(generate, nil)}); err != nil {
		fmt.Println(err)
	}
	if err := monitor.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// generate ready: false unchecked
	// generate ready: true pass
}
