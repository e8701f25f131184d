package rig

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Target is the endpoint that workers serve.
const Target = "dyn://dynamo.backend.generate"

// Place is where programs run.
type Place struct {
	Host  string   // address at which others reach them
	Enter []string // the beginning of a command that has it run there; empty: beside the test
}

// Here is this machine, where nobody else reaches it.
func Here() Place { return Place{Host: "127.0.0.1"} }

func (p Place) command(program string, args ...string) *exec.Cmd {
	all := slices.Concat(p.Enter, []string{program}, args)
	return exec.Command(all[0], all[1:]...)
}

func (p Place) address(t testing.TB) string {
	t.Helper()
	_, port, _ := strings.Cut(Address(t), ":")
	return net.JoinHostPort(p.Host, port)
}

// paths are where programs find others.
const paths = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"

// Engine is a process that answers, and where its knobs are if it is a mock engine.
type Engine struct {
	*testkit.Process

	Addr    string
	Control string
}

// MockEngine starts one.
func MockEngine(t testing.TB, b *Tools, at Place, name string) *Engine {
	t.Helper()
	e := &Engine{Addr: at.address(t), Control: at.address(t)}
	cmd := at.command(b.Dynmesh, "mock-engine", "--listen", e.Addr, "--control", e.Control)
	cmd.Env = []string{paths}
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

// Turn sets its knobs: see [Turn].
func (e *Engine) Turn(t testing.TB, knobs string) {
	t.Helper()
	Turn(t, e.Control, knobs)
}

// Turn sets the knobs of the mock engine with a control address; those that are not named get their
// defaults. On a machine that is busy an engine takes its time to answer.
func Turn(t testing.TB, control, knobs string) {
	t.Helper()
	testkit.Eventually(t, Startup, "an engine takes its knobs", func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+control+"/mock/knobs", strings.NewReader(knobs))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := NewAsker().Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			why, _ := io.ReadAll(resp.Body)
			t.Fatalf("knobs %s of %s: %s: %s", knobs, control, resp.Status, why)
		}
		return true
	})
}

// Fleet is dynmesh with its defaults: an etcd, a frontend, and workers before engines.
type Fleet struct {
	Etcd *localetcd.Server
	Root string // the frontend's URL

	t       testing.TB
	program string
	place   Place // of all but those workers that run elsewhere
}

// StartFleet starts an etcd, and a frontend at a place with more arguments.
func StartFleet(t testing.TB, b *Tools, at Place, more ...string) *Fleet {
	t.Helper()
	f := &Fleet{t: t, program: b.Dynmesh, place: at}
	var err error
	if f.Etcd, err = localetcd.Start(localetcd.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Etcd.Close() })
	addr := at.address(t)
	f.Root = "http://" + addr
	_, port, _ := strings.Cut(addr, ":")
	testkit.Start(t, "frontend", f.Command(append([]string{"frontend", "--http-host", at.Host, "--http-port", port}, more...)...))
	return f
}

// Worker starts one before the engine at a host:port, and returns where it takes requests.
func (f *Fleet) Worker(name, engine string, more ...string) (worker *testkit.Process, addr string) {
	f.t.Helper()
	return f.WorkerAt(f.place, f.Etcd.Endpoint(), name, engine, more...)
}

// WorkerAt starts one at a place that reaches etcd at a URL.
func (f *Fleet) WorkerAt(at Place, etcd, name, engine string, more ...string) (worker *testkit.Process, addr string) {
	f.t.Helper()
	addr = at.address(f.t)
	_, port, _ := strings.Cut(addr, ":")
	cmd := f.command(at, etcd, append([]string{"worker", "--backend", "http://" + engine, "--component", "backend",
		"--rpc-host", at.Host, "--rpc-bind", at.Host, "--rpc-port", port, "--system-host", at.Host, "--system-port", "0"}, more...)...)
	return testkit.Start(f.t, name, cmd), addr
}

// Command is dynmesh with the defaults of all that is not named here.
func (f *Fleet) Command(args ...string) *exec.Cmd {
	return f.command(f.place, f.Etcd.Endpoint(), args...)
}

func (f *Fleet) command(at Place, etcd string, args ...string) *exec.Cmd {
	cmd := at.command(f.program, args...)
	cmd.Env = []string{paths, "ETCD_ENDPOINTS=" + etcd, "DYN_GOSSIP_BIND=" + at.Host + ":0",
		// Other meshes come and go on this machine, and with them their ports.
		"DYN_GOSSIP_LABEL=" + strings.TrimPrefix(f.Etcd.Endpoint(), "http://")}
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
