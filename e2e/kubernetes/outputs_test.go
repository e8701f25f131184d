package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// What is asked of the outputs.
const (
	written  = 2 * time.Second  // after the verdict: an election's turn is not in it
	handed   = 5 * time.Second  // after the one that writes has stopped in order
	takeover = 20 * time.Second // after it was killed
	stopped  = 30 * time.Second // from SIGSTOP to where no more requests are lost
)

// hands is where frontends are installed that write.
const hands = "hands"

// gate is the condition that they write.
const gate = "dynmesh.dev/ready"

// outputs has frontends write readiness gates and EndpointSlices, with the rights that the chart
// gives them.
func (f *fleet) outputs(t *testing.T) {
	f.admin.create(t, "/api/v1/namespaces", object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": hands}})
	deploy, err := filepath.Abs("../../deploy/helm/dynmesh")
	if err != nil {
		t.Fatal(err)
	}
	f.run(t, install.Go(t, install.Helm, 15*time.Minute), "install", "dynmesh", deploy, "--namespace="+hands, "--kubeconfig="+f.file("admin"),
		"--set=gossip.keys[0]="+testKey, "--set=kubernetes.namespace="+namespace, "--set=kubernetes.readinessGate=true", "--set=kubernetes.endpointSlices={llm=dyn://"+engine+"}")

	pods := []*pod{f.startPod(t, "g-0", gate), f.startPod(t, "g-1", gate), f.startPod(t, "g-2", gate)}
	testkit.Eventually(t, patience, "the pods run", func() bool { return f.condition(t, "g-2", "ContainersReady") == "True" })
	if got := f.condition(t, "g-0", "Ready"); got != "False" {
		t.Errorf("a pod whose gate nobody has written is Ready: %q", got)
	}
	f.admin.create(t, path("services"), object{"apiVersion": "v1", "kind": "Service", "metadata": object{"name": "llm"}, "spec": object{"ports": []object{{"name": "http", "port": 80}}}})

	writers := &fleet{plane: f.plane, dynmesh: f.dynmesh, python: f.python, model: f.model, network: f.network, dynamo: f.dynamo}
	began := time.Now()
	for range 2 {
		writers.startFrontend(t, hands, "dynmesh-frontend", "--readiness-gate", "--endpointslices", "llm=dyn://"+engine, "--kubernetes-service", "app=steered:http")
	}
	ready := until(t, began, patience, "gated pods are ready", func() bool { return f.condition(t, "g-0", "Ready")+f.condition(t, "g-2", "Ready") == "TrueTrue" })
	row(t, "pods whose gate nobody has written are Ready after the start of the first frontend", seconds(ready), "–")
	for _, p := range pods {
		writers.work(t, p)
	}
	t.Run("a gate follows the verdict", func(t *testing.T) { writers.gateFollows(t, pods[0]) })
	t.Run("requests to a worker that is stopped", func(t *testing.T) { writers.loses(t, pods[1]) })
	engines := f.startEngines(t, 3)
	t.Run("slices follow the verdict", func(t *testing.T) { writers.slicesFollow(t, engines) })
	t.Run("another one writes", func(t *testing.T) { writers.handsOver(t, pods[2]) })
	t.Run("what they have asked for", writers.asked)
	t.Run("slices go with their Service", func(t *testing.T) {
		f.admin.remove(t, path("services")+"/llm")
		testkit.Eventually(t, patience, "they are gone", func() bool { return len(f.slices(t)) == 0 })
	})
	t.Run("what is left is released", f.isReleased)
	for _, p := range pods {
		p.process.Kill()
		f.admin.remove(t, path("pods")+"/"+p.name)
	}
	for _, e := range engines {
		e.process.Kill()
	}
	for n := range engines {
		f.admin.remove(t, fmt.Sprintf("%s/steered-%d", slicesPath, n))
	}
}

// condition returns the status of a pod's condition; empty: it has none.
func (p *plane) condition(t *testing.T, pod, kind string) string {
	t.Helper()
	o := p.admin.must(t, http.MethodGet, path("pods")+"/"+pod, "", nil)
	status, _ := o["status"].(object)
	all, _ := status["conditions"].([]any)
	for _, c := range all {
		if c, _ := c.(object); c["type"] == kind {
			return at(c, "status")
		}
	}
	return ""
}

// slices returns the endpoints of the Service llm that dynmesh has written, and whether they are
// ready.
func (p *plane) slices(t *testing.T) map[string]bool {
	t.Helper()
	o := p.admin.must(t, http.MethodGet, slicesPath+"?labelSelector=endpointslice.kubernetes.io/managed-by%3Ddynmesh,kubernetes.io/service-name%3Dllm", "", nil)
	all := map[string]bool{}
	items, _ := o["items"].([]any)
	for _, item := range items {
		slice, _ := item.(object)
		ports, _ := slice["ports"].([]any)
		endpoints, _ := slice["endpoints"].([]any)
		for _, e := range endpoints {
			e, _ := e.(object)
			conditions, _ := e["conditions"].(object)
			all[fmt.Sprint(e["addresses"].([]any)[0], ":", ports[0].(object)["port"])] = conditions["ready"] == true
		}
	}
	return all
}

// gateFollows: a worker is killed, and started again in its pod.
func (f *fleet) gateFollows(t *testing.T, p *pod) {
	began := time.Now()
	p.process.Kill()
	until(t, began, patience, "unreachable", func() bool { return f.say(generate, p.id) == f.all("unreachable") })
	verdict := time.Now()
	gated := until(t, verdict, patience, "its gate is False", func() bool { return f.condition(t, p.name, gate) == "False" })
	dropped := until(t, began, patience, "Dynamo lists it no longer", func() bool { return !f.lists(p.id) })
	row(t, "SIGKILL of a worker whose pod has the gate: withdrawn", seconds(dropped), seconds(dropped))
	if gated > written {
		t.Errorf("the gate is False %v after the verdict, want %v at most", gated, written)
	}
	if got := f.condition(t, p.name, "Ready"); got != "False" {
		t.Errorf("the pod is Ready: %s", got)
	}
	for _, one := range f.frontends { // also those that do not write
		testkit.Eventually(t, patience, "it says what was done", func() bool { return one.withdrawn(p.id) == "readinessgates out" })
		if i := one.instance(generate, p.id); i == nil || i.Pod == nil || i.Pod.Ready {
			t.Errorf("withdrawn, it is %+v, and should be listed as one whose pod is not ready", i)
		}
	}
	began = time.Now()
	f.work(t, p)
	testkit.Eventually(t, patience, "Dynamo lists it again", func() bool { return f.lists(p.id) && f.condition(t, p.name, "Ready") == "True" })
	t.Logf("started again, and back in after %v", time.Since(began))
}

// withdrawn returns where an instance's endpoint has it withdrawn, and how.
func (f *frontend) withdrawn(id string) string {
	i := f.instance(generate, id)
	if i == nil {
		return "not listed"
	}
	for _, o := range i.Outputs {
		if strings.HasPrefix(o.Target, "dyn://") {
			return o.Name + " " + o.State
		}
	}
	return ""
}

// loses counts requests to Dynamo's frontend that a stopped worker loses.
func (f *fleet) loses(t *testing.T, p *pod) {
	load := startLoad(f.dynamo)
	defer load.stop()
	testkit.Eventually(t, patience, "requests are answered", func() bool { sent, lost := load.counts(); return sent > 20 && lost == 0 })
	began := time.Now()
	signal(t, p.process, syscall.SIGSTOP)
	defer signal(t, p.process, syscall.SIGCONT)
	out := until(t, began, stopped, "Dynamo lists it no longer", func() bool { return !f.lists(p.id) })
	t.Logf("withdrawn %v after SIGSTOP", out)
	testkit.Eventually(t, patience, "nothing is in flight there any more", func() bool { return time.Since(began) > out+6*time.Second })
	sent, lost := load.counts()
	row(t, "SIGSTOP of one of five at 10 requests/s: withdrawn; lost of those sent", fmt.Sprintf("%s; %d of %d", seconds(out), lost, sent), "lists it; 27 of 360")
	testkit.Eventually(t, patience, "more are sent", func() bool { now, _ := load.counts(); return now > sent+30 })
	if _, now := load.counts(); now != lost {
		t.Errorf("%d requests were lost after it was withdrawn", now-lost)
	}
	signal(t, p.process, syscall.SIGCONT)
	testkit.Eventually(t, time.Minute, "it is back in", func() bool { return f.lists(p.id) })
}

// startEngines starts engines of a Service, of which the API server knows by a slice each.
func (f *fleet) startEngines(t *testing.T, n int) (all []*pod) {
	t.Helper()
	address := ownAddress(t)
	for i := range n {
		port, name := testkit.FreePort(t), fmt.Sprintf("steered-%d", i)
		cmd := exec.Command(f.dynmesh, "mock-engine", "--listen", net.JoinHostPort(address, fmt.Sprint(port)), "--control", fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)))
		f.admin.create(t, slicesPath, object{
			"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
			"metadata": object{"name": name, "labels": object{"app": "steered", "kubernetes.io/service-name": "engine", "endpointslice.kubernetes.io/managed-by": "a-test"}},
			"ports":    []object{{"name": "http", "port": port, "protocol": "TCP"}},
			"endpoints": []object{{
				"addresses": []string{address}, "conditions": object{"ready": true},
				"targetRef": object{"kind": "Pod", "name": name, "namespace": namespace, "uid": fmt.Sprintf("00000000-0000-0000-0000-0000000000%02d", i)},
			}},
		})
		all = append(all, &pod{name: fmt.Sprintf("%s:%d", address, port), id: discovery.HashID(name).String(), process: testkit.Start(f.owner, name, cmd)})
	}
	return all
}

// slicesFollow: an engine is killed.
func (f *fleet) slicesFollow(t *testing.T, engines []*pod) {
	testkit.Eventually(t, patience, "all are in", func() bool {
		all := f.slices(t)
		return len(all) == 3 && all[engines[0].name] && all[engines[1].name] && all[engines[2].name]
	})
	began := time.Now()
	engines[1].process.Kill()
	until(t, began, patience, "unreachable", func() bool { return f.say(engine, engines[1].id) == f.all("unreachable") })
	verdict := time.Now()
	took := until(t, verdict, patience, "it is not ready", func() bool { return !f.slices(t)[engines[1].name] })
	row(t, "SIGKILL of an engine of a Service without selector: not ready in its slice", seconds(time.Since(began)), "–")
	if all := f.slices(t); took > written || !all[engines[0].name] || !all[engines[2].name] || len(all) != 3 {
		t.Errorf("%v after the verdict slices have %v", took, all)
	}
}

// writing returns the frontend that writes an output; nil: none says so.
func (f *fleet) writing(output string) *frontend {
	for _, one := range f.frontends {
		if _, body := get(one.root + "/metrics"); strings.Contains(string(body), fmt.Sprintf("\ndynmesh_output_leads{output=%q} 1", output)) {
			return one
		}
	}
	return nil
}

// handsOver: the frontend that writes is killed, and what comes after it is stopped in order.
func (f *fleet) handsOver(t *testing.T, p *pod) {
	first := f.writing("readinessgates")
	if first == nil {
		t.Fatal("nobody writes")
	}
	began := time.Now()
	first.Kill()
	f.frontends = slices.DeleteFunc(f.frontends, func(one *frontend) bool { return one == first })
	p.process.Kill()
	took := until(t, began, time.Minute, "its gate is False", func() bool { return f.condition(t, p.name, gate) == "False" })
	row(t, "kill -9 of the frontend that writes, and of a worker: the next one has written", seconds(took), "–")
	if took > takeover {
		t.Errorf("written after %v, want %v at most", took, takeover)
	}
	if slice := f.slices(t); len(slice) != 3 {
		t.Errorf("slices have %v", slice)
	}
	second := f.frontends[0]
	testkit.Eventually(t, patience, "it writes both, each by a Lease of its own", func() bool {
		return f.writing("readinessgates") == second && f.writing("endpointslices") == second
	})
	third := f.startFrontend(t, hands, "dynmesh-frontend", "--readiness-gate", "--endpointslices", "llm=dyn://"+engine, "--kubernetes-service", "app=steered:http")
	testkit.Eventually(t, patience, "the third one has decided", func() bool { return third.withdrawn(p.id) == "readinessgates out" })
	began = time.Now()
	signal(t, second.Process, syscall.SIGTERM)
	f.frontends = []*frontend{third}
	took = until(t, began, patience, "another one writes", func() bool { return f.writing("readinessgates") != nil && f.writing("endpointslices") != nil })
	row(t, "the frontend that writes stops in order: the next one writes", seconds(took), "–")
	if took > handed {
		t.Errorf("it writes after %v, want %v at most", took, handed)
	}
	if got := f.condition(t, p.name, gate); got != "False" {
		t.Errorf("the gate is %s after that", got)
	}
	f.work(t, p)
	testkit.Eventually(t, patience, "it is back in", func() bool { return f.condition(t, p.name, "Ready") == "True" })
}

// asked: what the account has asked for is what it has to, and nothing was refused but what another
// frontend had written first.
func (f *fleet) asked(t *testing.T) {
	n := map[string]int{}
	for _, a := range f.askedBy(t, f.frontends[0].user) {
		n[a.Verb+" "+a.Object.Resource]++
		isNoLease := a.Verb == "get" && a.Object.Resource == "leases" && a.Status.Code == http.StatusNotFound
		if a.Status.Code > 299 && a.Status.Code != http.StatusConflict && !isNoLease {
			t.Errorf("%s %s: %d", a.Verb, a.URI, a.Status.Code)
		}
	}
	t.Logf("they have asked %v", n)
	// Three pods at first; two workers killed, one stopped, and each back in; and room for relapses on
	// a machine that is slow. Three engines come, and work, and one is killed.
	if n["patch pods"] > 3+6+6 || n["create endpointslices"] > 3 || n["patch endpointslices"] > 3+1+1 {
		t.Errorf("%d patches of pods, %d of slices, %d slices created", n["patch pods"], n["patch endpointslices"], n["create endpointslices"])
	}
	writer := f.admin
	writer.token = f.account(t, hands, "dynmesh-frontend")
	for method, refused := range map[string]string{http.MethodPatch: path("pods") + "/g-0", http.MethodDelete: path("pods") + "/g-0", http.MethodGet: path("secrets")} {
		if status, body := writer.ask(t.Context(), method, refused, "application/merge-patch+json", object{}); status != http.StatusForbidden {
			t.Errorf("%s %s: %d %.200s, want 403", method, refused, status, body)
		}
	}
}

// isReleased: with no frontend that runs, gates are opened and slices removed by a command.
func (f *fleet) isReleased(t *testing.T) {
	f.admin.patch(t, path("pods")+"/g-0/status", object{"status": object{"conditions": []object{{"type": gate, "status": "False"}}}})
	f.admin.create(t, slicesPath, object{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": []object{}, "ports": []object{},
		"metadata": object{"name": "left", "labels": object{"kubernetes.io/service-name": "llm", "endpointslice.kubernetes.io/managed-by": "dynmesh"}},
	})
	cmd := exec.CommandContext(t.Context(), f.dynmesh, "release", "--only", "readinessgates,endpointslices")
	cmd.Env = []string{"KUBECONFIG=" + f.kubeconfig(t, "release", f.account(t, hands, "dynmesh-frontend"), f.addr(), namespace)}
	said, err := cmd.CombinedOutput()
	const want = "endpointslices: EndpointSlice dynamo/left of the Service llm is removed\nreadinessgates: pod dynamo/g-0: dynmesh.dev/ready is True\n"
	if err != nil || string(said) != want {
		t.Errorf("%v\n%s, want\n%s", err, said, want)
	}
	if got := f.condition(t, "g-0", gate); got != "True" {
		t.Errorf("the gate is %s", got)
	}
	if status, _ := f.admin.ask(t.Context(), http.MethodGet, slicesPath+"/left", "", nil); status != http.StatusNotFound {
		t.Errorf("the slice is there: %d", status)
	}
}

// load sends 10 requests a second.
type load struct {
	mu         sync.Mutex
	sent, lost int
	ended      chan struct{}
	once       sync.Once
	running    sync.WaitGroup
}

// startLoad sends them to Dynamo's frontend.
func startLoad(root string) *load {
	body, _ := json.Marshal(object{"model": "tiny", "max_tokens": 4, "messages": []object{{"role": "user", "content": "hello"}}})
	return startRequests(posting(asker(), root+"/v1/chat/completions", body))
}

// posting returns a request that is lost unless it is answered with 200, whole.
func posting(client *http.Client, url string, body []byte) func() error {
	return func() error {
		res, err := client.Post(url, "application/json", bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		_, err = io.Copy(io.Discard, res.Body)
		if err == nil && res.StatusCode != http.StatusOK {
			err = errors.New(res.Status)
		}
		return err
	}
}

// startRequests makes requests, each of which returns why it was lost.
func startRequests(request func() error) *load {
	l := &load{ended: make(chan struct{})}
	l.running.Go(func() {
		ticks := time.NewTicker(100 * time.Millisecond)
		defer ticks.Stop()
		for {
			select {
			case <-l.ended:
				return
			case <-ticks.C:
				l.running.Go(func() {
					err := request()
					l.mu.Lock()
					defer l.mu.Unlock()
					l.sent++
					if err != nil {
						l.lost++
					}
				})
			}
		}
	})
	return l
}

// counts returns how many requests have ended, and how many of them badly.
func (l *load) counts() (sent, lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent, l.lost
}

// stop ends it, and waits for the last answers. It may be called again.
func (l *load) stop() {
	l.once.Do(func() { close(l.ended) })
	l.running.Wait()
}
