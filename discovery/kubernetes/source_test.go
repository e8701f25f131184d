package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/kubernetes"
	"github.com/dynmesh/dynmesh/discovery/sourcetest"
	"github.com/dynmesh/dynmesh/internal/apiserver/apitest"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var dynamoLabels = map[string]any{
	"nvidia.com/dynamo-discovery-backend": "kubernetes", "nvidia.com/dynamo-discovery-enabled": "true",
}

// cluster holds Dynamo workers as the operator and they themselves write them: a pod for each ID.
type cluster struct {
	*apitest.Server
	workers map[dynmesh.InstanceID]*worker
}

type worker struct {
	endpoints, cards map[string]any
}

// The paths of the kinds of objects.
const (
	workersPath = "/apis/nvidia.com/v1alpha1/namespaces/" + apitest.Namespace + "/dynamoworkermetadatas"
	slicesPath  = "/apis/discovery.k8s.io/v1/namespaces/" + apitest.Namespace + "/endpointslices"
	podsPath    = "/api/v1/namespaces/" + apitest.Namespace + "/pods"
)

// source returns a source that reaches the server through a network.
func (c *cluster) source(t *testing.T, cfg kubernetes.Config) (*kubernetes.Source, *testkit.Network) {
	t.Helper()
	kubeconfig, net := c.Reach()
	cfg.Kubeconfig = kubeconfig
	source, err := kubernetes.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return source, net
}

func podName(id dynmesh.InstanceID) string { return "w-" + id.String() }
func podUID(id dynmesh.InstanceID) string  { return "uid-" + id.String() }

func path(key dynmesh.InstanceKey) string { return strings.TrimPrefix(key.String(), "v1/instances/") }

// change changes what a worker says of itself. One that says nothing has no pod.
func (c *cluster) change(id dynmesh.InstanceID, change func(*worker)) {
	w := c.workers[id]
	if w == nil {
		w = &worker{map[string]any{}, map[string]any{}}
		c.workers[id] = w
		c.Put(slicesPath, slice("slice-"+podName(id), dynamoLabels, endpoint(podName(id), podUID(id), true)))
	}
	change(w)
	if len(w.endpoints)+len(w.cards) == 0 {
		delete(c.workers, id)
		c.Remove(workersPath, podName(id))
		c.Remove(slicesPath, "slice-"+podName(id))
		return
	}
	c.Put(workersPath, metadata(podName(id), podUID(id), maps.Clone(w.endpoints), maps.Clone(w.cards)))
}

func metadata(pod, uid string, endpoints, cards any) map[string]any {
	return map[string]any{
		"metadata": map[string]any{"name": pod, "ownerReferences": []any{map[string]any{"kind": "Pod", "name": pod, "uid": uid}}},
		"spec":     map[string]any{"data": map[string]any{"endpoints": endpoints, "model_cards": cards}},
	}
}

func slice(name string, labels map[string]any, endpoints ...any) map[string]any {
	return map[string]any{
		"metadata": map[string]any{"name": name, "labels": labels}, "addressType": "IPv4", "endpoints": endpoints,
		"ports": []any{map[string]any{"name": "system", "port": 9090, "protocol": "TCP"}},
	}
}

func endpoint(pod, uid string, ready bool) any {
	return map[string]any{
		"addresses": []any{"10.0.0.1"}, "conditions": map[string]any{"ready": ready}, "nodeName": "node-a",
		"targetRef": map[string]any{"kind": "Pod", "name": pod, "uid": uid},
	}
}

func TestConformance(t *testing.T) {
	sourcetest.Test(t, func(t *testing.T) sourcetest.Registry {
		c := &cluster{apitest.Start(t, workersPath, slicesPath, podsPath), map[dynmesh.InstanceID]*worker{}}
		source, net := c.source(t, kubernetes.Config{})
		return sourcetest.Registry{
			Source: source,
			Put: func(all ...dynmesh.Instance) {
				for _, i := range all {
					c.change(i.ID, func(w *worker) { w.endpoints[path(i.InstanceKey)] = json.RawMessage(i.Value()) })
				}
			},
			Delete: func(keys ...dynmesh.InstanceKey) {
				for _, key := range keys {
					c.change(key.ID, func(w *worker) { delete(w.endpoints, path(key)) })
				}
			},
			Spoil: func(key dynmesh.InstanceKey) {
				c.change(key.ID, func(w *worker) { w.endpoints[path(key)] = "junk" })
			},
			PutCard: func(key dynmesh.CardKey, value []byte) {
				c.change(key.ID, func(w *worker) { w.cards[path(key.InstanceKey)] = json.RawMessage(value) })
			},
			DeleteCard: func(key dynmesh.CardKey) {
				c.change(key.ID, func(w *worker) { delete(w.cards, path(key.InstanceKey)) })
			},
			SpoilCard: func(key dynmesh.CardKey) {
				c.change(key.ID, func(w *worker) { w.cards[path(key.InstanceKey)] = "junk" })
			},
			Cut: net.Cut, Heal: net.Heal, Interrupt: net.Reset, Compact: c.Compact,
			Within: 40 * time.Second, StaleAfter: time.Second,
		}
	})
}

// rig is a cluster of three workers, a source that follows it, and the network between.
func rig(t *testing.T) (*cluster, *sourcetest.View, *testkit.Network) {
	t.Helper()
	c := &cluster{apitest.Start(t, workersPath, slicesPath, podsPath), map[dynmesh.InstanceID]*worker{}}
	for n := range 3 {
		c.add(dynmesh.InstanceID(n + 1))
	}
	source, net := c.source(t, kubernetes.Config{})
	v, _ := sourcetest.Start(t, source)
	testkit.Eventually(t, 20*time.Second, "all workers", func() bool { return v.Synced() && v.Len() == 3 })
	return c, v, net
}

func (c *cluster) add(id dynmesh.InstanceID) {
	i := dynmesh.Instance{
		InstanceKey: dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "c", Name: "e"}, ID: id},
		Transport:   []byte(fmt.Sprintf(`{"tcp":"10.0.0.1:9000/%s/e"}`, id)),
	}
	c.change(id, func(w *worker) { w.endpoints[path(i.InstanceKey)] = json.RawMessage(i.Value()) })
}

// Each kind is listed once and watched once, whatever happens in it.
func TestOneWatchAKind(t *testing.T) {
	c, v, _ := rig(t)
	for id := range dynmesh.InstanceID(20) {
		c.add(100 + id)
	}
	testkit.Eventually(t, 10*time.Second, "all changes", func() bool { return v.Len() == 23 })
	if lists, watches := c.Asked("limit="), c.Asked("watch=1"); lists != 2 || watches != 2 {
		t.Errorf("%d lists and %d watches of two kinds, want one each", lists, watches)
	}
	if all, those := c.Asked("GET"), c.Asked(workersPath)+c.Asked(slicesPath); all != those {
		t.Errorf("%d requests, %d of them for what it may read", all, those)
	}
}

func gated(name, uid string, conditions ...string) apitest.Object {
	var all []any
	for _, c := range conditions {
		kind, status, _ := strings.Cut(c, "=")
		all = append(all, apitest.Object{"type": kind, "status": status})
	}
	return apitest.Object{
		"metadata": apitest.Object{"name": name, "uid": uid},
		"spec":     apitest.Object{"readinessGates": []any{apitest.Object{"conditionType": "dynmesh.dev/ready"}, apitest.Object{"conditionType": "other"}}},
		"status":   apitest.Object{"phase": "Running", "conditions": all},
	}
}

// A pod that is not ready because dynmesh has withdrawn it stays listed; one that would not be
// ready anyway, or has no gate, or is another pod, does not.
func TestReadinessGate(t *testing.T) {
	c := &cluster{apitest.Start(t, workersPath, slicesPath, podsPath), map[dynmesh.InstanceID]*worker{}}
	for n := range 3 {
		c.add(dynmesh.InstanceID(n + 1))
	}
	source, _ := c.source(t, kubernetes.Config{ReadinessGate: true})
	v, _ := sourcetest.Start(t, source)
	testkit.Eventually(t, 20*time.Second, "all workers", func() bool { return v.Synced() && v.Len() == 3 })
	pod := func(id dynmesh.InstanceID) (name, uid string) { return podName(id), podUID(id) }
	const id = dynmesh.InstanceID(1)
	name, uid := pod(id)
	ready := func(is bool) {
		c.Put(slicesPath, slice("slice-"+name, dynamoLabels, endpoint(name, uid, is)))
	}
	for _, tt := range []struct {
		name string
		pod  apitest.Object
		want int
	}{
		{"withdrawn", gated(name, uid, "ContainersReady=True", "other=True", "dynmesh.dev/ready=False", "Ready=False"), 3},
		{"given back, and not seen by the kubelet", gated(name, uid, "ContainersReady=True", "other=True", "dynmesh.dev/ready=True", "Ready=False"), 3},
		{"not written yet", gated(name, uid, "ContainersReady=True", "other=True"), 3},
		{"its containers are not ready", gated(name, uid, "ContainersReady=False", "other=True", "dynmesh.dev/ready=False"), 2},
		{"another gate", gated(name, uid, "ContainersReady=True", "other=False", "dynmesh.dev/ready=False"), 2},
		{"another life", gated(name, "v", "ContainersReady=True", "other=True", "dynmesh.dev/ready=False"), 2},
		{"no gate", apitest.Object{"metadata": apitest.Object{"name": name, "uid": uid}, "status": apitest.Object{"conditions": []any{apitest.Object{"type": "ContainersReady", "status": "True"}}}}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ready(true)
			c.Put(podsPath, gated(name, uid, "ContainersReady=True", "other=True", "dynmesh.dev/ready=True", "Ready=True"))
			testkit.Eventually(t, 10*time.Second, "all", func() bool { return v.Len() == 3 })
			c.Put(podsPath, tt.pod)
			ready(false)
			testkit.Eventually(t, 10*time.Second, "what it says of the pod", func() bool {
				for key, i := range v.Instances() {
					if key.ID == id {
						return !i.Pod.Ready && tt.want == 3
					}
				}
				return tt.want == 2
			})
		})
	}
	if lists := c.Asked("limit="); lists != 3 {
		t.Errorf("%d lists of three kinds", lists)
	}
}

// What dynmesh writes itself is no registry.
func TestOwnSlices(t *testing.T) {
	c := &cluster{Server: apitest.Start(t, workersPath, slicesPath, podsPath)}
	own := map[string]any{"app": "vllm", "kubernetes.io/service-name": "vllm", "endpointslice.kubernetes.io/managed-by": "dynmesh"}
	c.Put(slicesPath, slice("own", own, endpoint("vllm-1", "u", true)))
	c.Put(slicesPath, slice("vllm-1", map[string]any{"app": "vllm", "kubernetes.io/service-name": "vllm"}, endpoint("vllm-0", "u", true)))
	source, _ := c.source(t, kubernetes.Config{Services: []string{"app=vllm:system"}})
	v, _ := sourcetest.Start(t, source)
	testkit.Eventually(t, 20*time.Second, "the pod of the Service", func() bool { return v.Synced() && v.Len() > 0 })
	for _, i := range v.Instances() {
		if i.Pod.Name != "vllm-0" || v.Len() != 1 {
			t.Errorf("%d instances, %s among them", v.Len(), i.Pod.Name)
		}
	}
}

// An API server that refuses while it starts is away, and no reason to believe that all are gone.
func TestRefusals(t *testing.T) {
	for _, code := range []int{401, 403, 404, 410, 429, 500, 503} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			c, v, net := rig(t)
			c.Refuse(workersPath, code)
			net.Reset()
			testkit.Eventually(t, 20*time.Second, "stale", func() bool { state, _ := v.State(); return state == dynmesh.Stale })
			c.add(7)
			if n := v.Len(); n != 3 {
				t.Errorf("%d workers are listed, want 3", n)
			}
			c.Refuse(workersPath, 0)
			pace := testkit.Paced(t)
			back := time.Now()
			testkit.Eventually(t, 20*time.Second, "all", func() bool { return v.Synced() && v.Len() == 4 })
			// It is 1 s at most on a machine that has nothing else to do; informers take up to 30.
			if took := pace.Since(back); took > 6*time.Second {
				t.Errorf("it is followed %v after it is back", took)
			}
		})
	}
}

// Without Dynamo's CRD there are no workers of Dynamo, and Services are followed all the same.
func TestWithoutCRD(t *testing.T) {
	c := &cluster{Server: apitest.Start(t, workersPath, slicesPath, podsPath)}
	c.Refuse(workersPath, 404)
	c.Put(slicesPath, slice("vllm-1", map[string]any{"app": "vllm", "kubernetes.io/service-name": "vllm"}, endpoint("vllm-0", "u", false)))
	c.Put(slicesPath, slice("other", map[string]any{"app": "other"}, endpoint("other-0", "u", true)))
	source, _ := c.source(t, kubernetes.Config{Services: []string{"app=vllm:system"}})
	v, _ := sourcetest.Start(t, source)
	testkit.Eventually(t, 20*time.Second, "the pod of the Service", func() bool { return v.Synced() && v.Len() == 1 })
	for key, i := range v.Instances() {
		if key.Endpoint.String() != "dyn://dynamo.vllm.system" || i.Pod.Ready || i.Pod.Name != "vllm-0" {
			t.Errorf("instance %v of %+v", key, i.Pod)
		}
	}
	c.Put(slicesPath, slice("vllm-1", map[string]any{"app": "vllm", "kubernetes.io/service-name": "vllm"}, endpoint("vllm-0", "u", true)))
	testkit.Eventually(t, 10*time.Second, "that it is ready", func() bool {
		for _, i := range v.Instances() {
			return i.Pod.Ready
		}
		return false
	})
}

// An API server that vanishes without closing its connections is away within 30 s, and nothing
// disappears. When it is back it is followed again.
func TestVanishes(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for pings to fail: not with -short")
	}
	c, v, net := rig(t)
	pace := testkit.Paced(t)
	cut := time.Now()
	net.Cut()
	testkit.Eventually(t, 40*time.Second, "stale", func() bool { state, _ := v.State(); return state == dynmesh.Stale })
	if took := pace.Since(cut); took > 30*time.Second {
		t.Errorf("stale after %v", took)
	} else {
		t.Logf("stale after %v", took)
	}
	c.add(7)
	if _, since := v.State(); pace.Since(cut)-pace.Since(since) > time.Second || cut.Sub(since) > 10*time.Second {
		t.Errorf("stale since %v after the cut", since.Sub(cut))
	}
	net.Heal()
	back := time.Now()
	testkit.Eventually(t, 20*time.Second, "all four", func() bool { return v.Synced() && v.Len() == 4 })
	t.Logf("followed again %v after it was back", time.Since(back))
}

// A hundred connections that break at once do not make the source list everything each time.
func TestResumes(t *testing.T) {
	c, v, net := rig(t)
	for id := range dynmesh.InstanceID(10) {
		net.Reset()
		c.add(50 + id)
		testkit.Eventually(t, 10*time.Second, "the change", func() bool { return v.Len() == 4+int(id) })
	}
	if lists := c.Asked("limit="); lists != 2 {
		t.Errorf("%d lists, want 2: a watch that broke goes on from where it was", lists)
	}
	net.Cut()
	c.add(99)
	c.Compact()
	net.Reset()
	net.Heal()
	testkit.Eventually(t, 10*time.Second, "the change", func() bool { return v.Len() == 14 })
	// The server's cache may be older than what is known.
	if lists, cached := c.Asked("limit="), c.Asked("limit=500&resourceVersion=0"); lists < 3 || cached != 2 {
		t.Errorf("%d lists, %d of them from the cache, want the first two", lists, cached)
	}
}

func TestRefusedConfigurations(t *testing.T) {
	for _, service := range []string{"", ":http", "app=vllm:", "app=a:b:c"} {
		if _, err := kubernetes.New(kubernetes.Config{Services: []string{service}}); err == nil || !strings.Contains(err.Error(), "app=vllm:http") {
			t.Errorf("service %q: %v", service, err)
		}
	}
	t.Setenv("KUBECONFIG", "")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, path := range []string{"", "testdata/none"} {
		_, err := kubernetes.New(kubernetes.Config{Kubeconfig: path})
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("kubeconfig %q: %v", path, err)
		}
		t.Log(err)
	}
}

// Ten thousand workers are read within 5 s, and a change among them is seen at once. The samples'
// metadata is what each has.
func TestTenThousand(t *testing.T) {
	if os.Getenv("DYNMESH_BENCH") == "" {
		t.Skip("measures, with DYNMESH_BENCH=1")
	}
	const workers, changes = 10_000, 300
	text, err := os.ReadFile("testdata/dynamoworkermetadata.json")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{Server: apitest.Start(t, workersPath, slicesPath, podsPath)}
	var endpoints []any
	for n := range workers {
		var all []map[string]any
		id := dynmesh.InstanceID(n + 1).String()
		own := strings.NewReplacer("1d241219831293", id, "8202434480640659", fmt.Sprint(n+1), `"w-0"`, `"w-`+id+`"`).Replace(string(text))
		if err := json.Unmarshal([]byte(own), &all); err != nil {
			t.Fatal(err)
		}
		c.Put(workersPath, all[0])
		endpoints = append(endpoints, endpoint("w-"+id, "b8e684fa-98da-40c6-8e4c-2010e52d8726", true))
		if len(endpoints) == 100 {
			c.Put(slicesPath, slice(fmt.Sprintf("slice-%d", n/100), dynamoLabels, endpoints...))
			endpoints = nil
		}
	}
	source, _ := c.source(t, kubernetes.Config{})
	began := time.Now()
	v, _ := sourcetest.Start(t, source)
	testkit.Eventually(t, time.Minute, "all of them", func() bool { return v.Len() == 2*workers })
	t.Logf("%d workers with %d instances and %d cards are synced after %v", workers, v.Len(), len(v.Cards()), time.Since(began))

	var took []time.Duration
	for n := range changes {
		number := n % (workers / 100)
		var now []any
		for k := range 100 {
			id := dynmesh.InstanceID(number*100 + k + 1).String()
			now = append(now, endpoint("w-"+id, "b8e684fa-98da-40c6-8e4c-2010e52d8726", k != 0 || n >= workers/100 && n/100%2 == 1))
		}
		before, _ := v.Updates()
		began := time.Now()
		c.Put(slicesPath, slice(fmt.Sprintf("slice-%d", number), dynamoLabels, now...))
		for {
			if updates, _ := v.Updates(); updates > before {
				break
			}
			if time.Since(began) > 10*time.Second {
				t.Fatal("a change is not seen")
			}
			runtime.Gosched()
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("a change of one pod among them: p50 %v, p99 %v, max %v", took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
}
