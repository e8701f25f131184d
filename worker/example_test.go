package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/worker"
)

// greet streams two chunks for each request.
func greet(_ context.Context, request json.RawMessage, send func(chunk any) error) error {
	var to struct{ Name string }
	if err := json.Unmarshal(request, &to); err != nil {
		return fmt.Errorf("%w: %w", worker.ErrBadRequest, err)
	}
	if err := send(map[string]string{"text": "hello"}); err != nil {
		return err // the client is gone
	}
	return send(map[string]string{"text": to.Name})
}

// A whole program: README.md has it. Its worker is registered, a member of the mesh, and verified
// by canaries; where etcd is, and all else, is told by the variables of the worker command.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := worker.Serve(ctx, "generate", greet, worker.Canary(map[string]string{"name": "canary"}))
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// Options in place of variables: on loopback, with an etcd in this process, and a client that asks
// once the worker has been registered.
func ExampleServe() {
	etcd, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = etcd.Close() }()
	ctx, stop := context.WithCancel(context.Background())

	ask := func(w *worker.Worker) {
		defer stop()
		<-w.Registered() // others can find it now
		resp, err := http.Post("http://"+w.RPCAddr()+"/v1/rpc/generate", "application/json", strings.NewReader(`{"name":"mesh"}`))
		if err != nil {
			log.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		answer, _ := io.ReadAll(resp.Body)
		fmt.Print(string(answer))
	}
	err = worker.Serve(ctx, "generate", greet,
		worker.Canary(map[string]string{"name": "canary"}),
		worker.Etcd(etcd.Endpoint()),
		worker.Component("prefill"),
		worker.With(func(c *worker.Config) {
			c.RPC = worker.RPCConfig{Host: "127.0.0.1"}
			c.System = worker.SystemConfig{Host: "127.0.0.1"}
			c.Gossip.Bind = "127.0.0.1:0"
		}),
		worker.OnStart(func(w *worker.Worker) { go ask(w) }),
	)
	fmt.Println(err)
	// Output:
	// {"text":"hello"}
	// {"text":"mesh"}
	// <nil>
}
