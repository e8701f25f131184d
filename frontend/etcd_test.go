package frontend_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/frontend"
)

// The whole way on a real etcd: a worker registers, is listed with its ID, stops, and is gone.
func TestFromEtcdToHealth(t *testing.T) {
	f, cfg := onEtcd(t)
	worker, err := etcd.NewRegistrar(etcd.RegistrarConfig{Etcd: cfg})
	if err != nil {
		t.Fatal(err)
	}
	endpoint := dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}
	if err := worker.Add(endpoint, dynmesh.HTTPTransport("http://10.0.0.1:9000/v1/rpc/generate")); err != nil {
		t.Fatal(err)
	}
	stopWorker := run(t, worker.Run)
	defer stopWorker()

	url := "http://" + f.Addr() + "/health"
	waitFor(t, url, fmt.Sprintf(`{"endpoints":["dyn://dynamo.backend.generate"],"instances":[{"component":"backend","endpoint":"generate","instance_id":%d,`+
		`"namespace":"dynamo","transport":{"http":"http://10.0.0.1:9000/v1/rpc/generate"}}],"status":"healthy"}`, uint64(worker.ID())))
	if metrics := get("http://" + f.Addr() + "/metrics"); !strings.Contains(metrics, "dynmesh_registry_state") {
		t.Error("no metrics of the watcher")
	}
	stopWorker()
	waitFor(t, url, `{"endpoints":[],"instances":[],"message":"No endpoints available","status":"healthy"}`)
}

// onEtcd runs a frontend on an etcd of its own until the test ends.
func onEtcd(t *testing.T) (*frontend.Frontend, etcd.Config) {
	t.Helper()
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	cfg := etcd.Config{Endpoints: []string{server.Endpoint()}}
	f, err := frontend.New(frontend.Config{Host: "127.0.0.1", Etcd: cfg, GracefulShutdownTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run(t, f.Run))
	return f, cfg
}

// run starts a part and returns what stops it and waits for it; that may be called twice.
func run(t *testing.T, part func(context.Context) error) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := part(ctx); err != nil {
			t.Error(err)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func waitFor(t *testing.T, url, want string) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if got = get(url); got == want {
			return
		}
		if !json.Valid([]byte(got)) {
			t.Fatalf("got invalid JSON %s", got)
		}
		<-time.After(5 * time.Millisecond)
	}
	t.Fatalf("got  %s\nwant %s", got, want)
}
