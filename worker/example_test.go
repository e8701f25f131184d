package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/worker"
)

// greet is an endpoint: it streams two chunks for each request.
func greet(_ context.Context, request json.RawMessage, send func(chunk any) error) error {
	var to struct{ Name string }
	if err := json.Unmarshal(request, &to); err != nil {
		return fmt.Errorf("%w: %w", worker.ErrBadRequest, err)
	}
	if err := send(map[string]string{"text": "hello"}); err != nil {
		return err
	}
	return send(map[string]string{"text": to.Name})
}

// A program that serves one endpoint. Elsewhere etcd is a cluster of its own, and the context one that ends with SIGTERM.
func Example() {
	etcd, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = etcd.Close() }()

	w, err := worker.New(worker.Config{
		Etcd: discovery.Config{Endpoints: []string{etcd.Endpoint()}},
		RPC:  worker.RPCConfig{Host: "127.0.0.1"},
	})
	if err != nil {
		panic(err)
	}
	if err := w.Handle("generate", greet); err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()

	<-w.Registered() // others can find it now
	resp, err := http.Post("http://"+w.RPCAddr()+"/v1/rpc/generate", "application/json", strings.NewReader(`{"name":"mesh"}`))
	if err != nil {
		panic(err)
	}
	answer, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	fmt.Print(string(answer))

	stop()
	fmt.Println(<-done)
	// Output:
	// {"text":"hello"}
	// {"text":"mesh"}
	// <nil>
}
