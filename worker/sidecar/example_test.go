package sidecar_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/worker/mocker"
	"github.com/dynmesh/dynmesh/worker/sidecar"
)

// A sidecar in front of an engine: the mock engine stands in for vLLM. With a worker, Generate goes
// to Worker.Handle, and Probe to Worker.Canary.
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

	request := json.RawMessage(`{"prompt":"who is there?","max_tokens":3,"stream":true}`)
	err = s.Generate(ctx, request, func(chunk any) error {
		var c struct{ Choices []struct{ Text string } }
		if err := json.Unmarshal(chunk.(json.RawMessage), &c); err != nil {
			return err
		}
		fmt.Println(c.Choices[0].Text)
		return nil
	})
	fmt.Println(err)

	stop()
	fmt.Println(<-ended, <-ended)
	// Output:
	// canary: true model: llama
	//  the
	//  mesh
	//  knows
	// <nil>
	// <nil> <nil>
}
