package engines

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/e2e/rig"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// TestEnvoy has a real Envoy follow a frontend while replicas break, and counts the requests that
// clients lose. All times are dynmesh's defaults.
func TestEnvoy(t *testing.T) {
	wanted(t, "envoy")
	env := install.Python(t, "testdata/envoy.txt", 2*time.Minute, "3.13", "3.12", "3.11", "3.10")
	r := &routed{
		fleet: newFleet(t), envoy: filepath.Join(install.Packages(t, env), "envoy", "_bin", "envoy"),
		xds: fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)), web: fmt.Sprint(testkit.FreePort(t)),
	}
	r.route(t)
	for range 3 {
		r.replicas = append(r.replicas, r.replica(t))
	}
	for _, one := range r.replicas {
		r.told(t, one, "in")
	}

	folder := t.TempDir()
	cert, key := testkit.Certificate(t, folder, "frontend")
	ours, oursKey := testkit.Certificate(t, folder, "envoy")
	token := filepath.Join(folder, "token")
	if err := os.WriteFile(token, []byte("a-token-of-enough-bytes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shown := []string{"--frontend-ca", cert, "--tls-cert", ours, "--tls-key", oursKey, "--api-token-file", token}

	t.Run("configurations", func(t *testing.T) {
		for name, args := range map[string][]string{
			"an endpoint":  {"--cluster", "dyn://dynamo.routed.generate"},
			"no retries":   {"--cluster", "dyn://dynamo.routed.generate", "--retries", "0"},
			"a model":      {"--cluster", "model/Qwen/Qwen3-0.6B", "--admin", "127.0.0.1:9901"},
			"all clusters": {"--xds", "frontend-0:18000,[fd00::1]:18000"},
			"TLS":          append([]string{"--xds", "frontend-0:18000,[fd00::1]:18000"}, shown...),
		} {
			t.Run(name, func(t *testing.T) {
				cmd := exec.Command(r.envoy, "--mode", "validate", "-c", r.configuration(t, args...))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("envoy rejects it: %v\n%s", err, out)
				}
			})
		}
	})

	t.Run("TLS and a token", func(t *testing.T) {
		xds := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
		testkit.Start(t, "frontend with TLS", r.command("frontend", "--http-host", "127.0.0.1", "--http-port", "0", "--xds", xds,
			"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ours, "--api-token-file", token))
		r.start(t, append([]string{"--cluster", "dyn://dynamo.routed.generate", "--xds", xds}, shown...)...)
	})

	// Two Envoys, each with 10 requests a second: one that tries again, and one that does not.
	cluster := []string{"--cluster", "dyn://dynamo.routed.generate", "--xds", r.xds}
	retrying := r.start(t, append(cluster, "--retries", "2")...)
	once := r.start(t, append(cluster, "--retries", "0")...)
	all := r.start(t, "--xds", r.xds)

	t.Run("errors", func(t *testing.T) {
		broken := r.replicas[0]
		load, tried := r.load(t, once), r.load(t, retrying)
		load.await(t, 20)
		broken.knobs(t, `{"error_status":500}`)
		r.told(t, broken, "out")
		lost, first := load.lost()
		if lost > 10 {
			t.Errorf("%d requests were lost before Envoy knew, want 10 at most: %v", lost, first)
		}
		before := load.answered()
		load.await(t, before+40)
		if later, _ := load.lost(); later > lost+1 { // one was on its way
			t.Errorf("%d requests were lost after the replica was withdrawn", later-lost)
		}
		if lost, first := tried.lost(); lost > 0 {
			t.Errorf("an Envoy that tries again lost %d: %v", lost, first)
		}
		t.Logf("errors: lost %d without retries", lost)
		broken.knobs(t, `{}`)
		r.told(t, broken, "in")
	})
	t.Run("killed", func(t *testing.T) {
		load, tried := r.load(t, once), r.load(t, retrying)
		load.await(t, 20)
		r.replicas[1].engine.Kill()
		r.told(t, r.replicas[1], "out")
		lost, first := load.lost()
		if lost > 4 {
			t.Errorf("%d requests were lost, want 4 at most: %v", lost, first)
		}
		if lost, first := tried.lost(); lost > 1 {
			t.Errorf("an Envoy that tries again lost %d: %v", lost, first)
		}
		t.Logf("killed: lost %d without retries", lost)
	})
	t.Run("clusters by header", func(t *testing.T) {
		for cluster, want := range map[string]int{"dyn://dynamo.routed.generate": 200, "dyn://dynamo.none.generate": 404} {
			testkit.Eventually(t, patience, cluster, func() bool { return ask(t, all, cluster) == want })
		}
	})
	// What it was told last stands: of three replicas, two work.
	t.Run("frontends gone", func(t *testing.T) {
		load := r.load(t, once)
		load.await(t, 10)
		r.frontend.Kill()
		before := load.answered()
		load.await(t, before+30)
		r.route(t)
		before = load.answered()
		load.await(t, before+30) // it starts, and lists what it has read
		r.told(t, r.replicas[0], "in")
		if lost, first := load.lost(); lost > 0 {
			t.Errorf("%d requests were lost: %v", lost, first)
		}
	})
}

// routed is a fleet whose frontend steers Envoys.
type routed struct {
	*fleet
	envoy    string // the program
	xds, web string
	frontend *testkit.Process
	replicas []*replica
}

// replica is a mock engine with the worker in front of it.
type replica struct {
	*sidecar
	control string
}

// route starts the frontend that steers.
func (r *routed) route(t *testing.T) {
	t.Helper()
	r.frontend = testkit.Start(t, "frontend with xDS", r.command("frontend", "--http-host", "127.0.0.1", "--http-port", r.web, "--xds", r.xds))
}

func (r *routed) replica(t *testing.T) *replica {
	t.Helper()
	at, control := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	e := &engine{
		owner: t, name: "mock engine", model: "mock", root: "http://" + at, startup: patience,
		command: []string{r.program, "mock-engine", "--listen", at, "--control", control},
		parts:   func(server int) map[string]int { return map[string]int{"server": server} },
	}
	e.start(t)
	return &replica{r.front(t, "routed", e), control}
}

// knobs sets the engine's faults.
func (r *replica) knobs(t *testing.T, set string) {
	t.Helper()
	rig.Turn(t, r.control, set)
}

// configuration writes what dynmesh envoy-config prints to a file.
func (r *routed) configuration(t *testing.T, args ...string) (file string) {
	t.Helper()
	printed, err := exec.Command(r.program, append([]string{"envoy-config"}, args...)...).Output()
	if err != nil {
		t.Fatalf("envoy-config %v: %v", args, err)
	}
	file = filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(file, printed, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// start runs an Envoy and returns its root, once requests reach a replica.
func (r *routed) start(t *testing.T, args ...string) (root string) {
	t.Helper()
	at := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	cmd := exec.Command(r.envoy, "-c", r.configuration(t, append(args, "--listen", at)...), "--concurrency", "1", "--disable-hot-restart", "-l", "warn")
	testkit.Start(t, "envoy", cmd)
	root = "http://" + at
	testkit.Eventually(t, patience, "requests reach a replica", func() bool { return ask(t, root, "dyn://dynamo.routed.generate") == http.StatusOK })
	return root
}

// ask sends a request for a cluster, and returns the status of its answer; 0 where there is none.
func ask(t *testing.T, root, cluster string) (status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, root+"/v1/completions", strings.NewReader(`{"model":"mock","prompt":"hi","max_tokens":1}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("x-dynmesh-cluster", cluster)
	resp, err := newAsker().Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // only its status counts
	return resp.StatusCode
}

// load is 10 requests a second.
func (r *routed) load(t *testing.T, root string) pair {
	t.Helper()
	return pair{steady.work(t, root, "mock"), steady.work(t, root, "mock")}
}

// pair is two crowds of clients.
type pair [2]*clients

func (p pair) await(t *testing.T, good int) {
	t.Helper()
	testkit.Eventually(t, patience, fmt.Sprint(good, " requests are answered"), func() bool { return p.answered() >= good })
}

func (p pair) answered() (n int) {
	for _, c := range p {
		c.mu.Lock()
		n += c.good
		c.mu.Unlock()
	}
	return n
}

func (p pair) lost() (n int, first error) {
	for _, c := range p {
		lost, err := c.lost()
		if n += lost; first == nil {
			first = err
		}
	}
	return n, first
}

// told waits until xDS has told Envoys a state of a replica.
func (r *routed) told(t *testing.T, of *replica, state string) {
	t.Helper()
	client := newAsker()
	testkit.Eventually(t, patience, "xDS tells "+state, func() bool {
		_, body := get(t.Context(), client, "http://127.0.0.1:"+r.web+"/mesh/dynamo.routed.generate")
		var answer struct {
			Endpoints []struct {
				Instances []struct {
					Transport map[string]string
					Outputs   []struct{ Output, State string }
				}
			}
		}
		if json.Unmarshal(body, &answer) != nil {
			return false
		}
		for _, e := range answer.Endpoints {
			for _, i := range e.Instances {
				for _, o := range i.Outputs {
					if strings.HasPrefix(i.Transport["http"], of.root) && o.Output == "xds" {
						return o.State == state
					}
				}
			}
		}
		return false
	})
}
