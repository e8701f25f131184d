package kubernetes

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// What is asked of dynmesh.
const (
	killed    = 300 * time.Millisecond
	dialled   = 3 * time.Second  // an engine's HTTP server gets no idle connection: it is dialled every 2 s
	followed  = 2 * time.Second  // after the API server is back
	stale     = 30 * time.Second // after it has vanished without closing its connections
	dynamoGap = 2 * time.Minute  // until Dynamo's own frontend follows again
	kills     = 5
)

// testKey is one that anybody may read here.
const testKey = "ZHlubWVzaCdzIGNoYXJ0LCB0aGUga2V5IG9mIGFsbCE="

// row is a line of docs/benchmarks.md.
func row(t *testing.T, what string, dynmesh, dynamo any) {
	t.Helper()
	t.Logf("| %s | %v | %v |", what, dynmesh, dynamo)
}

// seconds is what rows have.
func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

// TestKubernetes has all steps on one cluster: it takes a minute to start.
func TestKubernetes(t *testing.T) {
	if os.Getenv("DYNMESH_KUBERNETES") == "" {
		t.Skip("left out: Kubernetes is compiled first; run make kubernetes")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" || os.Getuid() != 0 {
		install.LeftOut(t, "the kubelet wants root, on Linux, and Dynamo is for amd64")
	}
	f := newFleet(t)
	if !t.Run("installed", f.isInstalled) {
		return
	}
	for _, place := range []string{namespace, "eyes"} {
		f.startFrontend(t, place, "dynmesh-frontend")
	}
	f.startDynamo(t)
	pods := []*pod{f.startPod(t, "w-0"), f.startPod(t, "w-1")}
	for _, p := range pods {
		f.work(t, p)
	}
	steady := time.Now()
	t.Run("equal lists", f.equal)
	t.Run("a worker is killed, and restarted in its pod", func(t *testing.T) { f.kill(t, pods[0]) })
	t.Run("another pod of the same name", func(t *testing.T) { f.replace(t, pods[0]) })
	t.Run("a pod is not ready", func(t *testing.T) { f.unready(t, pods[1]) })
	t.Run("slices with two uids", func(t *testing.T) { f.twoLives(t, pods[1]) })
	t.Run("a Service's engine", f.service)
	t.Run("reads, and nothing else", func(t *testing.T) { f.reads(t, time.Since(steady)) })
	t.Run("what follows the verdicts", f.outputs)
	t.Run("the API server is away", func(t *testing.T) { f.away(t, pods) })
	t.Run("the API server is frozen", func(t *testing.T) {
		f.vanish(t, pods[1], func() { signal(t, f.server, syscall.SIGSTOP) }, func() { signal(t, f.server, syscall.SIGCONT) })
	})
	t.Run("the network is cut", func(t *testing.T) { f.vanish(t, pods[1], f.network.Cut, f.network.Heal) })
	t.Run("ten thousand", f.thousands)
}

// isInstalled installs dynmesh's frontends as people do: with kustomize beside the workers, and
// with Helm in another namespace. Their service accounts are those that the frontends here run as.
func (f *fleet) isInstalled(t *testing.T) {
	for _, name := range []string{namespace, "eyes"} {
		f.admin.create(t, "/api/v1/namespaces", object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{
			"name": name, "labels": object{"pod-security.kubernetes.io/warn": "restricted"},
		}})
	}
	f.kubectl(t, "apply", "--server-side", "-n", namespace, "-f", "testdata/dynamo.yaml")

	deploy, err := filepath.Abs("../../deploy")
	if err != nil {
		t.Fatal(err)
	}
	overlay := t.TempDir()
	there, err := filepath.Rel(overlay, filepath.Join(deploy, "kubernetes"))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("namespace: %s\nresources: [%s/frontend]\ncomponents: [%s/registry]\n", namespace, there, there)
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, done := range []string{"serverside-applied", "serverside-applied"} { // the second time nothing is in the way either
		said := f.kubectl(t, "apply", "--server-side", "-k", overlay)
		if strings.Contains(said, "Warning") || strings.Count(said, done) < 10 {
			t.Errorf("kustomize:\n%s", said)
		}
	}

	helm := install.Go(t, install.Helm, 15*time.Minute)
	for _, verb := range []string{"install", "upgrade"} {
		said := f.run(t, helm, verb, "dynmesh", filepath.Join(deploy, "helm", "dynmesh"), "--namespace=eyes", "--kubeconfig="+f.file("admin"),
			"--set=gossip.keys[0]="+testKey, "--set=kubernetes.namespace="+namespace, "--set=etcd.install.enabled=true")
		if strings.Contains(strings.ToLower(said), "warning") || !strings.Contains(said, "STATUS: deployed") {
			t.Errorf("helm %s:\n%s", verb, said)
		}
	}
	monitor := exec.CommandContext(t.Context(), helm, "upgrade", "dynmesh", filepath.Join(deploy, "helm", "dynmesh"), "--namespace=eyes", "--kubeconfig="+f.file("admin"),
		"--reuse-values", "--set=serviceMonitor.enabled=true")
	monitor.Env = []string{"HOME=" + f.dir}
	if said, err := monitor.CombinedOutput(); err == nil || !strings.Contains(string(said), `no matches for kind "ServiceMonitor"`) {
		t.Errorf("a ServiceMonitor, without the operator: %v\n%s", err, said)
	}
}

// equal compares what is listed here with what Dynamo lists.
func (f *fleet) equal(t *testing.T) {
	for _, one := range f.frontends {
		testkit.Eventually(t, patience, "it lists what Dynamo lists", func() bool {
			got := list(one.root)
			return len(got) > 0 && reflect.DeepEqual(got, list(f.dynamo))
		})
	}
	t.Logf("%d instances", len(list(f.dynamo)))
}

// kill kills a worker whose pod stays ready, and restarts it there: under the ID that it had.
func (f *fleet) kill(t *testing.T, p *pod) {
	var took, back []time.Duration
	for range kills {
		pace := testkit.Paced(t)
		began := time.Now()
		p.process.Kill()
		until(t, time.Now(), patience, "unreachable", func() bool { return f.say(generate, p.id) == f.all("unreachable") })
		took = append(took, pace.Since(began))
		pace.Stop()
		if !f.lists(p.id) {
			t.Error("Dynamo does not list it any more: its pod is ready")
		}
		i := f.frontends[0].instance(generate, p.id)
		if i == nil || i.Pod == nil || !i.Pod.Ready || i.Pod.UID != p.uid || i.Pod.Node != node {
			t.Errorf("killed, it is %+v, and its pod should be ready", i)
		}
		began = time.Now()
		f.work(t, p)
		back = append(back, time.Since(began)-watchedAfter)
		again := f.frontends[0].instance(generate, p.id)
		if again == nil || again.Pod.UID != p.uid || !again.Since.After(began) || string(again.Transport) == string(i.Transport) {
			t.Errorf("restarted in the same pod, it is %+v, and should be ready since then, at another address than %s", again, i.Transport)
		}
	}
	slices.Sort(took)
	row(t, fmt.Sprintf("SIGKILL of a worker whose pod stays ready, p50 and most of %d", kills), seconds(took[len(took)/2])+", "+seconds(took[len(took)-1]), "lists it until the pod is deleted")
	t.Logf("started again, ready under the same ID after %v", back)
	if took[len(took)-1] > killed {
		t.Errorf("unreachable after %v, want %v at most", took, killed)
	}
}

// replace deletes the pod, and makes another of its name: another life under the same ID.
func (f *fleet) replace(t *testing.T, p *pod) {
	p.process.Kill()
	before := p.uid
	began := time.Now()
	f.admin.remove(t, path("pods")+"/"+p.name)
	gone := until(t, began, patience, "gone from dynmesh", func() bool { return f.say(generate, p.id) == f.all("") })
	dynamo := until(t, began, patience, "gone from Dynamo", func() bool { return !f.lists(p.id) })
	row(t, "a pod is deleted: no longer listed", seconds(gone), seconds(dynamo))
	*p = *f.startPod(t, p.name)
	f.work(t, p)
	if i := f.frontends[0].instance(generate, p.id); p.uid == before || i == nil || i.Pod.UID != p.uid {
		t.Errorf("it is %+v, and should be of the pod %s, not %s", i, p.uid, before)
	}
	f.equal(t)
}

// ready says that a pod is ready, or not. The kubelet says what it thinks again after a while.
func (f *fleet) ready(t *testing.T, name, status string) {
	t.Helper()
	f.admin.patch(t, path("pods")+"/"+name+"/status", object{"status": object{"conditions": []object{
		{"type": "Ready", "status": status, "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)},
	}}})
}

// unready: Dynamo's workers are listed while their pods are ready.
func (f *fleet) unready(t *testing.T, p *pod) {
	for _, step := range []struct {
		status string
		listed bool
	}{{"False", false}, {"True", true}} {
		began := time.Now()
		f.ready(t, p.name, step.status)
		// Both at once: either may be the first.
		var ours, dynamos time.Duration
		until(t, began, patience, "both have heard of it", func() bool {
			if ours == 0 && (f.say(generate, p.id) != f.all("")) == step.listed {
				ours = time.Since(began)
			}
			if dynamos == 0 && f.lists(p.id) == step.listed {
				dynamos = time.Since(began)
			}
			return ours > 0 && dynamos > 0
		})
		row(t, "Ready is written "+step.status+": listed "+fmt.Sprint(step.listed), seconds(ours), seconds(dynamos))
	}
	testkit.Eventually(t, patience, "it is ready again", func() bool { return f.say(generate, p.id) == f.all("ready") })
}

// twoLives: a pod of which slices have two uids is not listed.
func (f *fleet) twoLives(t *testing.T, p *pod) {
	f.other(t, p, "00000000-0000-0000-0000-00000000000a")
	testkit.Eventually(t, patience, "nobody lists it", func() bool { return f.say(generate, p.id) == f.all("") && !f.lists(p.id) })
	_, body := get(f.frontends[0].root + "/mesh")
	if !strings.Contains(string(body), "slices name the pod with uids") {
		t.Errorf("nothing says why: %.3000s", body)
	}
	f.equal(t)
	f.admin.remove(t, slicesPath+"/other")
	testkit.Eventually(t, patience, "all list it", func() bool { return f.say(generate, p.id) == f.all("ready") && f.lists(p.id) })
	f.equal(t)
}

// other makes a slice that has a pod under another uid.
func (f *fleet) other(t *testing.T, p *pod, uid string) {
	t.Helper()
	f.admin.create(t, slicesPath, object{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
		"metadata": object{"name": "other", "labels": object{
			"kubernetes.io/service-name": "other", "endpointslice.kubernetes.io/managed-by": "a-test",
			"nvidia.com/dynamo-discovery-backend": "kubernetes", "nvidia.com/dynamo-discovery-enabled": "true",
		}},
		"ports": []object{{"name": "system", "port": 9090, "protocol": "TCP"}},
		"endpoints": []object{{
			"addresses": []string{"192.0.2.77"}, "conditions": object{"ready": true},
			"targetRef": object{"kind": "Pod", "name": p.name, "namespace": namespace, "uid": uid},
		}},
	})
}

// service: the pods of a Service are listed, ready or not, at the port that has the name. This
// one's slice is written by hand, since a kubelet without containers gives pods an address that is
// nowhere.
func (f *fleet) service(t *testing.T) {
	address, port := ownAddress(t), testkit.FreePort(t)
	cmd := exec.Command(f.dynmesh, "mock-engine", "--listen", net.JoinHostPort(address, fmt.Sprint(port)), "--control", fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)))
	process := testkit.Start(t, "engine", cmd)
	f.admin.create(t, path("services"), object{
		"apiVersion": "v1", "kind": "Service", "metadata": object{"name": "engine", "labels": object{"app": "engine"}},
		"spec": object{"ports": []object{{"name": "metrics", "port": 9400}, {"name": "http", "port": port}}},
	})
	id := discovery.HashID("engine-0").String()
	pod := object{
		"addresses": []string{address}, "conditions": object{"ready": true}, "nodeName": node,
		"targetRef": object{"kind": "Pod", "name": "engine-0", "namespace": namespace, "uid": "00000000-0000-0000-0000-00000000000e"},
	}
	f.admin.create(t, slicesPath, object{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": []object{pod},
		"metadata": object{"name": "engine", "labels": object{
			"app": "engine", "kubernetes.io/service-name": "engine", "endpointslice.kubernetes.io/managed-by": "a-test",
		}},
		"ports": []object{{"name": "metrics", "port": 9400, "protocol": "TCP"}, {"name": "http", "port": port, "protocol": "TCP"}},
	})
	follows := &fleet{plane: f.plane, dynmesh: f.dynmesh, network: f.network}
	one := follows.startFrontend(t, namespace, "dynmesh-frontend", "--kubernetes-service", "app=engine:http")
	var seen time.Time
	testkit.Eventually(t, patience, "it is ready, and watched", func() bool {
		i := one.instance(engine, id)
		if i == nil || i.Verdict != "ready" || len(i.Observations) == 0 {
			return false
		}
		if seen.IsZero() {
			seen = time.Now()
		}
		return time.Since(seen) > watchedAfter
	})
	i := one.instance(engine, id)
	if want := fmt.Sprintf(`"http://%s:%d"`, address, port); i.Pod == nil || !i.Pod.Ready || !strings.Contains(string(i.Transport), want) {
		t.Errorf("got %+v at %s, want %s", i.Pod, i.Transport, want)
	}
	for _, ready := range []bool{false, true} {
		began := time.Now()
		f.admin.must(t, http.MethodPatch, slicesPath+"/engine", "application/json-patch+json",
			[]object{{"op": "replace", "path": "/endpoints/0/conditions/ready", "value": ready}})
		shown := until(t, began, patience, "what Kubernetes says of it is shown", func() bool {
			i := one.instance(engine, id)
			return i != nil && i.Pod.Ready == ready && i.Verdict == "ready"
		})
		t.Logf("written that it is ready: %v, shown after %v, and listed as ready", ready, shown)
	}
	pace := testkit.Paced(t)
	began := time.Now()
	process.Kill()
	until(t, began, patience, "unreachable", func() bool { return follows.say(engine, id) == "unreachable" })
	took := pace.Since(began)
	row(t, "SIGKILL of a Service's engine, whose pod stays ready", seconds(took), "–")
	if took > dialled {
		t.Errorf("unreachable after %v, want %v at most", took, dialled)
	}
	f.admin.remove(t, slicesPath+"/engine")
	testkit.Eventually(t, patience, "it is gone", func() bool { return follows.say(engine, id) == "" })
}

// ownAddress is one of this machine that is not loopback, which no slice may have.
func ownAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	install.LeftOut(t, "this machine has no address but loopback")
	return ""
}

// reads: what frontends have asked for so far is one list of each kind, one watch of each, and the
// watch again when the server has ended it, after 3.5 minutes at least. They are allowed that and
// nothing else.
func (f *fleet) reads(t *testing.T, steady time.Duration) {
	kinds := map[string]string{"endpointslices": "", "dynamoworkermetadatas": ""}
	for _, one := range f.frontends {
		n := map[string]int{}
		for _, a := range f.askedBy(t, one.user) {
			n[a.Verb+" "+a.Object.Resource]++
			if _, known := kinds[a.Object.Resource]; !known || a.Object.Namespace != namespace || a.Status.Code != http.StatusOK || a.Verb != "list" && a.Verb != "watch" {
				t.Errorf("%s asked %s %s: %d", one.user, a.Verb, a.URI, a.Status.Code)
			}
		}
		t.Logf("%s asked %v in %v", one.user, n, steady)
		for kind := range kinds {
			wantLists, mostWatches := 1, 2+int(steady/(3*time.Minute))
			if one.user == f.frontends[0].user { // and that which follows the Service, in the account's name
				wantLists, mostWatches = 2, 2*mostWatches+2
				if kind == "endpointslices" {
					wantLists, mostWatches = 3, mostWatches+2
				}
			}
			if n["list "+kind] != wantLists || n["watch "+kind] > mostWatches || n["watch "+kind] == 0 {
				t.Errorf("%s of %s: %d lists, %d watches, want %d, at most %d", one.user, kind, n["list "+kind], n["watch "+kind], wantLists, mostWatches)
			}
		}
	}
	reader := f.admin
	reader.token = f.account(t, namespace, "dynmesh-frontend")
	for _, refused := range []string{
		path("pods"), path("secrets"), path("services"), "/api/v1/nodes", "/apis/discovery.k8s.io/v1/namespaces/eyes/endpointslices",
		slicesPath + "/other", "/apis/nvidia.com/v1alpha1/namespaces/" + namespace + "/dynamoworkermetadatas/w-0",
	} {
		if status, body := reader.ask(t.Context(), http.MethodGet, refused, "", nil); status != http.StatusForbidden {
			t.Errorf("GET %s: %d %.200s, want 403", refused, status, body)
		}
	}
	if status, _ := reader.ask(t.Context(), http.MethodDelete, slicesPath, "", nil); status != http.StatusForbidden {
		t.Errorf("it may delete slices: %d", status)
	}
}

// away ends the API server and starts it again. Nothing disappears, and probes go on; afterwards
// all is followed again.
func (f *fleet) away(t *testing.T, pods []*pod) {
	before := list(f.frontends[0].root)
	f.server.Kill()
	testkit.Eventually(t, patience, "stale", func() bool { return f.states("stale") })
	pace := testkit.Paced(t)
	began := time.Now()
	pods[0].process.Kill()
	until(t, began, patience, "unreachable", func() bool { return f.say(generate, pods[0].id) == f.all("unreachable") })
	took := pace.Since(began)
	row(t, "SIGKILL of a worker while the API server is away", seconds(took), "lists it")
	if took > killed {
		t.Errorf("unreachable after %v, want %v at most", took, killed)
	}
	for _, one := range f.frontends {
		if got := list(one.root); !reflect.DeepEqual(got, before) {
			t.Errorf("while the API server is away, %d instances are listed, not %d", len(got), len(before))
		}
	}
	started := time.Now()
	f.startServer(t)
	back := time.Now()
	f.other(t, pods[1], "00000000-0000-0000-0000-00000000000b")
	ours := until(t, back, patience, "followed, and a change is seen", func() bool {
		return f.say(generate, pods[1].id) == f.all("") && f.states("synced")
	})
	dynamos := until(t, back, dynamoGap, "a change is seen by Dynamo", func() bool { return !f.lists(pods[1].id) })
	row(t, "the API server is back: followed again, and a change is seen", seconds(ours), seconds(dynamos))
	if ours > followed {
		t.Errorf("followed %v after it was ready, want %v at most", ours, followed)
	}
	for _, one := range f.frontends {
		refused := 0
		for _, a := range f.askedBy(t, one.user) {
			if a.Status.Code == http.StatusForbidden && a.From.After(started) {
				refused++
				if a.From.After(back.Add(time.Second)) {
					t.Errorf("forbidden %v after the API server was ready: %s", a.From.Sub(back), a.URI)
				}
			}
		}
		t.Logf("%s was refused %d times while the API server started", one.user, refused)
	}
	f.admin.remove(t, slicesPath+"/other")
	testkit.Eventually(t, patience, "all list it again", func() bool { return f.say(generate, pods[1].id) == f.all("ready") && f.lists(pods[1].id) })
	f.work(t, pods[0])
	f.equal(t)
}

func (f *fleet) states(state string) bool {
	return !slices.ContainsFunc(f.frontends, func(one *frontend) bool { return one.state() != state })
}

// vanish has the API server be silent, with its connections open.
func (f *fleet) vanish(t *testing.T, p *pod, leave, comeBack func()) {
	before := list(f.frontends[0].root)
	began := time.Now()
	leave()
	took := until(t, began, time.Minute, "stale", func() bool { return f.states("stale") })
	for _, one := range f.frontends {
		if got := list(one.root); !reflect.DeepEqual(got, before) {
			t.Errorf("%d instances are listed, not %d", len(got), len(before))
		}
	}
	began = time.Now()
	comeBack()
	back := until(t, began, time.Minute, "synced", func() bool { return f.states("synced") })
	row(t, "the API server vanishes with its connections open: stale", seconds(took), "–")
	t.Logf("followed again after %v", back)
	if took > stale {
		t.Errorf("stale after %v, want %v at most", took, stale)
	}
	f.ready(t, p.name, "False")
	testkit.Eventually(t, patience, "a change is seen", func() bool { return f.say(generate, p.id) == f.all("") })
	f.ready(t, p.name, "True")
	testkit.Eventually(t, patience, "and the next", func() bool { return f.say(generate, p.id) == f.all("ready") })
}
