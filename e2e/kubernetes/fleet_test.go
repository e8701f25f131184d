package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/e2e/model"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// namespace is that of Dynamo's workers.
const namespace = "dynamo"

// watchedAfter: a frontend connects to a worker that is new to it within 4.2 s.
const watchedAfter = 5 * time.Second

// generate is what Dynamo's workers serve, and engine what the pods of a Service do.
const (
	generate = "dynamo.backend.generate"
	engine   = namespace + ".engine.http"
)

// fleet is a cluster with frontends that follow it.
type fleet struct {
	*plane
	dynmesh   string // the program
	python    string // Dynamo's
	model     string
	network   *testkit.Network // between dynmesh's frontends and the API server
	frontends []*frontend
	dynamo    string // the root of Dynamo's own frontend
}

// frontend is one of dynmesh.
type frontend struct {
	*testkit.Process
	root, user string
	gossip     string // where it can be joined
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	env := install.Python(t, "../engines/testdata/dynamo.txt", 15*time.Minute, "3.11", "3.12", "3.13")
	f := &fleet{plane: startPlane(t), python: filepath.Join(env, "bin", "python"), model: model.HuggingFace(t)}
	f.dynmesh = testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh", "-tags", "noetcd")
	f.network = testkit.StartNetwork(t, f.addr())
	return f
}

// startFrontend starts one that follows the namespace as a service account of another, until the
// test ends. Those of one fleet are one mesh.
func (f *fleet) startFrontend(t *testing.T, place, account string, args ...string) *frontend {
	t.Helper()
	name := fmt.Sprintf("frontend-%d as %s of %s", len(f.frontends)+1, account, place)
	config := f.kubeconfig(t, name, f.account(t, place, account), f.network.Addr(), namespace)
	port, gossip := testkit.FreePort(t), fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	var others []string
	for _, other := range f.frontends {
		others = append(others, other.gossip)
	}
	cmd := exec.Command(f.dynmesh, append([]string{"frontend", "--http-host", "127.0.0.1", "--http-port", fmt.Sprint(port)}, args...)...)
	cmd.Env = []string{
		"KUBECONFIG=" + config, "DYN_DISCOVERY_BACKEND=kubernetes", "DYN_GOSSIP_BIND=" + gossip, "DYN_GOSSIP_JOIN=" + strings.Join(others, ","),
		"DYN_GOSSIP_LABEL=" + f.network.Addr(), "DYN_GOSSIP_KEY=" + testKey,
	}
	one := &frontend{Process: testkit.Start(t, name, cmd), root: fmt.Sprintf("http://127.0.0.1:%d", port), user: "system:serviceaccount:" + place + ":" + account, gossip: gossip}
	f.frontends = append(f.frontends, one)
	t.Cleanup(func() {
		if t.Failed() {
			_, body := get(one.root + "/mesh")
			t.Logf("%s says at the end %.8000s", name, body)
		}
	})
	testkit.Eventually(t, starts, name+" is synced", func() bool { return one.state() == "synced" })
	return one
}

// startDynamo starts Dynamo's own frontend. It wants to be a pod, and may be any.
func (f *fleet) startDynamo(t *testing.T) {
	t.Helper()
	port := testkit.FreePort(t)
	f.dynamo = fmt.Sprintf("http://127.0.0.1:%d", port)
	f.startPython(t, "Dynamo's frontend", "frontend-0", "00000000-0000-0000-0000-000000000000", "dynamo.frontend", "--http-port", fmt.Sprint(port))
	testkit.Eventually(t, starts, "Dynamo's frontend answers", func() bool { status, _ := get(f.dynamo + "/health"); return status == http.StatusOK })
}

func (f *fleet) startPython(t *testing.T, name, pod, uid, module string, args ...string) *testkit.Process {
	t.Helper()
	config := f.kubeconfig(t, "dynamo-worker", "dynamo-token", f.addr(), namespace)
	common := []string{"-m", module, "--discovery-backend", "kubernetes", "--request-plane", "tcp", "--event-plane", "zmq"}
	cmd := exec.Command(f.python, append(common, args...)...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "KUBECONFIG=" + config, "DYN_LOG=info", "HF_HUB_OFFLINE=1", "DYN_NAMESPACE=dynamo",
		"POD_NAME=" + pod, "POD_NAMESPACE=" + namespace, "POD_UID=" + uid, "CONTAINER_NAME=main", "DYN_TCP_RPC_HOST=127.0.0.1",
		fmt.Sprintf("DYN_SYSTEM_PORT=%d", testkit.FreePort(t)),
	}
	return testkit.Start(f.owner, name, cmd)
}

// pod is one with a worker in it.
type pod struct {
	name, uid string
	id        string // of its instances
	process   *testkit.Process
}

// path is that of objects of a kind in the namespace.
func path(kind string) string { return "/api/v1/namespaces/" + namespace + "/" + kind }

// slicesPath is that of slices.
const slicesPath = "/apis/discovery.k8s.io/v1/namespaces/" + namespace + "/endpointslices"

// startPod makes a pod, of which the kubelet says that it is ready once its gates are.
func (f *fleet) startPod(t *testing.T, name string, gates ...string) *pod {
	t.Helper()
	all := []object{}
	for _, g := range gates {
		all = append(all, object{"conditionType": g})
	}
	made := f.admin.create(t, path("pods"), object{
		"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": name, "labels": object{"app": "dynamo"}},
		"spec": object{
			"nodeName": node, "readinessGates": all, "hostNetwork": true, "automountServiceAccountToken": false, "enableServiceLinks": false, "terminationGracePeriodSeconds": 0,
			"containers": []object{{"name": "main", "image": "none"}},
		},
	})
	return &pod{name: name, uid: at(made, "metadata", "uid"), id: discovery.HashID(name).String()}
}

// work starts the pod's worker, and returns once all know it, and watch it.
func (f *fleet) work(t *testing.T, p *pod) {
	t.Helper()
	p.process = f.startPython(t, "worker "+p.name, p.name, p.uid, "dynamo.mocker", "--model-path", f.model, "--model-name", "tiny", "--speedup-ratio", "10")
	var seen time.Time
	testkit.Eventually(t, starts, p.name+" is ready at all frontends, and asked", func() bool {
		if f.say(generate, p.id) != f.all("ready") {
			seen = time.Time{}
			return false
		}
		if seen.IsZero() {
			seen = time.Now()
		}
		return time.Since(seen) > watchedAfter && f.isAsked(p.id)
	})
}

// isAsked says whether two watch an instance, and one of them asks its system port.
func (f *fleet) isAsked(id string) bool {
	i := f.frontends[0].instance(generate, id)
	return i != nil && len(i.Observations) >= min(2, len(f.frontends)) &&
		slices.ContainsFunc(i.Observations, func(o mesh.Observation) bool { return o.Kind == "system" && o.Detail != "" })
}

// all is one word for each frontend.
func (f *fleet) all(word string) string {
	return strings.TrimSuffix(strings.Repeat(word+" ", len(f.frontends)), " ")
}

// say returns the verdicts of the frontends on an instance, with a space between them; empty: it is
// not listed.
func (f *fleet) say(endpoint, id string) string {
	verdicts := make([]string, len(f.frontends))
	for n, one := range f.frontends {
		if i := one.instance(endpoint, id); i != nil {
			verdicts[n] = string(i.Verdict)
		}
	}
	return strings.Join(verdicts, " ")
}

// instance returns what a frontend knows of one; nil: nothing.
func (f *frontend) instance(endpoint, id string) *mesh.Instance {
	for _, i := range f.instances(endpoint) {
		if i.ID.String() == id {
			return &i
		}
	}
	return nil
}

func (f *frontend) instances(endpoint string) []mesh.Instance {
	_, body := get(f.root + "/mesh/" + endpoint)
	var m mesh.Mesh
	if json.Unmarshal(body, &m) != nil || len(m.Endpoints) == 0 {
		return nil
	}
	return m.Endpoints[0].Instances
}

// state is what it says of its registry.
func (f *frontend) state() string {
	res, err := asker().Get(f.root + "/health")
	if err != nil {
		return err.Error()
	}
	res.Body.Close()
	state, _, _ := strings.Cut(res.Header.Get("X-Dynmesh-Discovery"), ";")
	return state
}

// asker is a client for what is answered at once.
func asker() *http.Client { return &http.Client{Timeout: 5 * time.Second} }

func get(url string) (int, []byte) {
	res, err := asker().Get(url)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil
	}
	return res.StatusCode, body
}

// list returns what a frontend, Dynamo's or not, lists at /health, by instance and endpoint.
func list(root string) map[string]any {
	var health struct {
		Instances []map[string]any `json:"instances"`
	}
	_, body := get(root + "/health")
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // IDs exceed 2^53
	if decoder.Decode(&health) != nil {
		return nil
	}
	all := map[string]any{}
	for _, i := range health.Instances {
		all[fmt.Sprint(i["instance_id"], " ", i["endpoint"])] = i
	}
	return all
}

// lists says whether Dynamo lists a worker.
func (f *fleet) lists(id string) bool {
	var n uint64
	if _, err := fmt.Sscanf(id, "%x", &n); err != nil {
		return false
	}
	_, ok := list(f.dynamo)[fmt.Sprint(n, " generate")]
	return ok
}

// until waits for something, looking often, and returns how long it took.
func until(t *testing.T, began time.Time, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	ticks := time.NewTicker(2 * time.Millisecond)
	defer ticks.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", limit, what)
		case <-ticks.C:
		}
	}
	return time.Since(began)
}
