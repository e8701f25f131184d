package client

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/frontend"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// What frontends answer, by their own golden files, is understood, and counted as they count it.
func TestFrontendsGoldenAnswers(t *testing.T) {
	files, err := filepath.Glob("../testdata/mesh*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("got %v, %v, want the frontend's golden files", files, err)
	}
	c := newClient(t, Config{})
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var m Mesh
		if err := c.decode(answer{path: meshPath, status: 200, body: b}, &m, "version", "discovery", "endpoints"); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, e := range m.Endpoints {
			if strings.HasSuffix(file, "instance.json") {
				continue // its counts are of more than is in it
			}
			got := expect.Evaluate([]expect.Expectation{{Endpoint: e.Name}, {Endpoint: e.Name, Verified: true}}, m.View()).Expectations
			if len(got) != 2 || got[0].Have != e.Ready || got[0].Registered != e.Registered || got[1].Have != e.Verified {
				t.Errorf("%s: %s: got %+v, want ready %d, registered %d, verified %d", file, e.Name, got, e.Ready, e.Registered, e.Verified)
			}
			for _, i := range e.Instances {
				if i.Verdict == "" || i.Since.IsZero() || len(i.Reasons) == 0 {
					t.Errorf("%s: got %+v", file, i)
				}
			}
		}
		// Nothing is read from where frontends do not write it: each field of ours is somewhere in
		// what they wrote.
		if strings.HasSuffix(file, "mesh.json") {
			again, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			var ours, theirs any
			if err := errors.Join(json.Unmarshal(again, &ours), json.Unmarshal(b, &theirs)); err != nil {
				t.Fatal(err)
			}
			written := fields(theirs, "", map[string]bool{})
			for path := range fields(ours, "", map[string]bool{}) {
				if !written[path] && !strings.Contains(path, ".labels.") {
					t.Errorf("%s: no frontend writes %s", file, path)
				}
			}
		}
	}
}

// fields collects the paths of all fields of a document.
func fields(v any, path string, all map[string]bool) map[string]bool {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			all[path+"."+name] = true
			fields(inner, path+"."+name, all)
		}
	case []any:
		for _, inner := range v {
			fields(inner, path, all)
		}
	}
	return all
}

// startFrontend runs a frontend on a port, 0 for any, until stop.
func startFrontend(t *testing.T, server string, port int) (addr string, stop func()) {
	t.Helper()
	f, err := frontend.New(frontend.Config{
		Host: "127.0.0.1", Port: port, GracefulShutdownTimeout: 50 * time.Millisecond, Etcd: etcd.Config{Endpoints: []string{server}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return f.Addr(), stop
}

// A real frontend over a real etcd: the three depths, an instance that comes, a restart, and etcd
// going away.
func TestRealFrontend(t *testing.T) {
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var closed sync.Once
	closeEtcd := func() {
		closed.Do(func() {
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(closeEtcd)
	addr, stop := startFrontend(t, server.Endpoint(), 0)
	c := newClient(t, Config{URL: "http://" + addr})
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	expected := []expect.Expectation{{Endpoint: backend, Want: 1}}
	var lines reportedLines
	done := make(chan error, 1)
	go func() { done <- c.Wait(ctx, expected, lines.report) }()
	testkit.Eventually(t, patience, "that it is missing", func() bool {
		all := lines.get()
		return len(all) > 0 && strings.HasSuffix(all[len(all)-1], "0 of 1 ready: 1 missing")
	})

	registrar, err := etcd.NewRegistrar(etcd.RegistrarConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := dynmesh.ParseEndpoint(backend)
	if err != nil {
		t.Fatal(err)
	}
	if err := registrar.Add(e, dynmesh.HTTPTransport("http://127.0.0.1:1/x")); err != nil {
		t.Fatal(err)
	}
	registering, deregister := context.WithCancel(context.Background())
	var registered sync.WaitGroup
	registered.Go(func() { _ = registrar.Run(registering) })
	defer func() { deregister(); registered.Wait() }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	whole, err := c.Mesh(ctx)
	if err != nil {
		t.Fatal(err)
	}
	id := whole.Endpoints[0].Instances[0].ID
	for depth, ask := range []func() (*Mesh, error){
		func() (*Mesh, error) { return c.Mesh(ctx) },
		func() (*Mesh, error) { return c.Endpoint(ctx, backend) },
		func() (*Mesh, error) { return c.Instance(ctx, backend, id) },
	} {
		m, err := ask()
		if err != nil || len(m.Endpoints) != 1 || len(m.Endpoints[0].Instances) != 1 || m.Endpoints[0].Instances[0].ID != id || m.Now.IsZero() {
			t.Errorf("depth %d: got %+v, %v", depth, m, err)
		}
	}
	for _, ask := range []func() (*Mesh, error){
		func() (*Mesh, error) { return c.Endpoint(ctx, "dyn://a.b.\x1b[2J/c") },
		func() (*Mesh, error) { return c.Instance(ctx, backend, id+1) },
	} {
		if m, err := ask(); !errors.Is(err, ErrNotFound) || !shows(err.Error()) {
			t.Errorf("got %+v, %v, want ErrNotFound", m, err)
		}
	}

	// It restarts under a Wait, which goes on at the new one.
	go func() { done <- c.Wait(ctx, []expect.Expectation{{Endpoint: backend, Want: 2}}, lines.report) }()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = startFrontend(t, server.Endpoint(), n)
	if err := registrar.Add(dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "embed"}, dynmesh.HTTPTransport("http://127.0.0.1:1/x")); err != nil {
		t.Fatal(err)
	}
	both := []expect.Expectation{{Endpoint: "dyn://dynamo.backend.*", Want: 2}}
	if err := c.Wait(ctx, both, func(string) {}); err != nil {
		t.Errorf("after the restart: %v", err)
	}

	// What is known stays, and it says that it is stale.
	closeEtcd()
	testkit.Eventually(t, patience, "stale", func() bool {
		m, err := c.Mesh(ctx)
		return err == nil && m.Discovery.State == dynmesh.Stale && len(m.Endpoints) == 2
	})
	if err := c.Wait(ctx, both, func(string) {}); err != nil {
		t.Errorf("while etcd is away: %v", err)
	}
	cancel()
	waited, ok := errors.AsType[*WaitError](<-done)
	if !ok || waited.Last == nil || waited.Last.Expectations[0].Have != 1 {
		t.Errorf("got %+v, want what was known last", waited)
	}
}
