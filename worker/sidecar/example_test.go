package sidecar_test

import (
	"context"
	"fmt"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/worker/mocker"
	"github.com/dynmesh/dynmesh/worker/sidecar"
)

// A sidecar in front of an engine: the mock engine stands in for vLLM. A worker's
// endpoint is given Probe; what is asked of it goes by way of package proxy.
func Example() {
	engine, err := mocker.New(mocker.Config{Model: "llama"})
	if err != nil {
		panic(err)
	}
	vllm, err := mocker.NewServer(mocker.ServerConfig{Engine: engine})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- vllm.Run(ctx) }()

	s, err := sidecar.New(sidecar.Config{Backend: "http://" + vllm.Addr(), Engine: "vllm"})
	if err != nil {
		panic(err)
	}
	go func() { ended <- s.Run(ctx) }() // waits for the engine

	result := canary.Check(ctx, s.Probe())
	fmt.Println("canary:", result.Failure == nil, "model:", s.Model())

	stop()
	fmt.Println(<-ended, <-ended)
	// Output:
	// canary: true model: llama
	// <nil> <nil>
}
