package rig

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Target is the endpoint that workers serve.
const Target = "dyn://dynamo.backend.generate"

// Engine is a process that answers, and where its knobs are if it is a mock engine.
type Engine struct {
	*testkit.Process

	Addr    string
	Control string
}

// MockEngine starts one.
func MockEngine(t testing.TB, b *Tools, name string) *Engine {
	t.Helper()
	e := &Engine{Addr: Address(t), Control: Address(t)}
	cmd := exec.Command(b.Dynmesh, "mock-engine", "--listen", e.Addr, "--control", e.Control)
	cmd.Env = []string{}
	e.Process = testkit.Start(t, name, cmd)
	return e
}

// Answers waits until it does.
func (e *Engine) Answers(t testing.TB) {
	t.Helper()
	testkit.Eventually(t, Startup, "an engine answers", func() bool {
		status, _ := Get(t.Context(), "http://"+e.Addr+"/v1/models")
		return status == http.StatusOK
	})
}

// Turn sets the knobs of a mock engine; those that are not named get their defaults.
func (e *Engine) Turn(t testing.TB, knobs string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+e.Control+"/mock/knobs", strings.NewReader(knobs))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := NewAsker().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("knobs %s: %s", knobs, resp.Status)
	}
}

// Fleet is dynmesh with its defaults: an etcd, a frontend, and workers before engines.
type Fleet struct {
	Etcd *localetcd.Server
	Root string // the frontend's URL

	t       testing.TB
	program string
	host    string
}

// StartFleet starts an etcd, and a frontend with more arguments. Its members are at host; they
// find each other there.
func StartFleet(t testing.TB, b *Tools, host string, more ...string) *Fleet {
	t.Helper()
	f := &Fleet{t: t, program: b.Dynmesh, host: host}
	var err error
	if f.Etcd, err = localetcd.Start(localetcd.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Etcd.Close() })
	_, port, _ := strings.Cut(Address(t), ":")
	f.Root = "http://" + net.JoinHostPort(host, port)
	testkit.Start(t, "frontend", f.Command(append([]string{"frontend", "--http-host", host, "--http-port", port}, more...)...))
	return f
}

// Worker starts one before the engine at a host:port, and returns where it takes requests.
func (f *Fleet) Worker(name, engine string, more ...string) (worker *testkit.Process, addr string) {
	f.t.Helper()
	_, port, _ := strings.Cut(Address(f.t), ":")
	cmd := f.Command(append([]string{"worker", "--backend", "http://" + engine, "--component", "backend",
		"--rpc-host", f.host, "--rpc-bind", f.host, "--rpc-port", port, "--system-host", f.host, "--system-port", "0"}, more...)...)
	return testkit.Start(f.t, name, cmd), net.JoinHostPort(f.host, port)
}

// Command is dynmesh with the defaults of all that is not named here.
func (f *Fleet) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(f.program, args...)
	cmd.Env = []string{"ETCD_ENDPOINTS=" + f.Etcd.Endpoint(), "DYN_GOSSIP_BIND=" + f.host + ":0",
		// Other meshes come and go on this machine, and with them their ports.
		"DYN_GOSSIP_LABEL=" + strings.TrimPrefix(f.Etcd.Endpoint(), "http://"), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	return cmd
}

// Mesh is what the frontend knows; nothing where it cannot be asked.
func (f *Fleet) Mesh(ctx context.Context) (m mesh.Mesh) {
	_, body := Get(ctx, f.Root+"/mesh")
	if json.Unmarshal(body, &m) != nil {
		return mesh.Mesh{}
	}
	return m
}

// AllReady waits until the frontend says that so many instances are ready, and have been seen to
// work.
func (f *Fleet) AllReady(want int) {
	f.t.Helper()
	testkit.Eventually(f.t, Startup, "all are ready, and seen to work", func() bool {
		n := 0
		for _, e := range f.Mesh(f.t.Context()).Endpoints {
			for _, i := range e.Instances {
				if e.Name == Target && i.Verdict == dynmesh.Ready && i.Verified {
					n++
				}
			}
		}
		return n == want
	})
}
