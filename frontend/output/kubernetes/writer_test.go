package kubernetes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/internal/apiserver/apitest"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

const (
	slicesLease = "dynmesh-endpointslices"
	gatesLease  = "dynmesh-readinessgates"
)

func openSlices(services ...string) func(Config) (output.Output, error) {
	return func(cfg Config) (output.Output, error) { return NewSlices(SlicesConfig{cfg, services}) }
}

func openGates(cfg Config) (output.Output, error) { return NewGates(cfg) }

func llm(extra apitest.Object) apitest.Object {
	spec := apitest.Object{"ports": []any{apitest.Object{"name": "http", "port": 80}}}
	for name, v := range extra {
		spec[name] = v
	}
	return apitest.Object{"metadata": apitest.Object{"name": "llm", "labels": apitest.Object{"team": "a"}}, "spec": spec}
}

// crossing is the most requests for one change: a watch may tell of what stood before a write after
// that was answered, and then it is made again, refused as a conflict, and left.
const crossing = 4

// A Service's slices are what is decided, and each change is one write.
func TestSlices(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := start(t, s, openSlices("llm="+generate))
	r.eventually("it is elected", "true", func() string { return fmt.Sprint(holder(s, slicesLease) != "") })
	r.publish(output.In, output.In)
	const noService = ": there is no Service dynamo/llm"
	r.eventually("without a Service", generate+" out"+noService, func() string { return r.told(1) })
	s.Put(servicesPath, llm(apitest.Object{"selector": apitest.Object{"app": "x"}}))
	r.eventually("a Service of Kubernetes' own", "true", func() string { return fmt.Sprint(strings.Contains(r.told(1), "the Service has a selector")) })
	if got := s.Names(ownSlices); len(got) != 0 {
		t.Fatalf("slices %v were written", got)
	}
	s.Put(servicesPath, llm(nil))
	all := endpoints(s)
	r.eventually("both are in", "10.0.0.1=in 10.0.0.2=in", all)
	r.eventually("which is reported", generate+" in", func() string { return r.told(1) })
	slice := s.Get(ownSlices, "llm-dynmesh-v4-80-1")
	meta := slice["metadata"].(apitest.Object)
	service := s.Get(servicesPath, "llm")["metadata"].(apitest.Object)
	if owner := meta["ownerReferences"].([]any)[0].(apitest.Object); owner["uid"] != service["uid"] || owner["kind"] != "Service" {
		t.Errorf("it belongs to %v, want %v", owner, service["uid"])
	}
	if got := fmt.Sprint(slice["apiVersion"], slice["kind"], slice["addressType"], slice["ports"], meta["labels"]); got !=
		"discovery.k8s.io/v1EndpointSliceIPv4[map[name:http port:80 protocol:TCP]] map[endpointslice.kubernetes.io/managed-by:dynmesh kubernetes.io/service-name:llm team:a]" {
		t.Errorf("got %s", got)
	}
	before := s.Asked("PATCH") + s.Asked("POST "+ownSlices)
	r.publish(output.In, output.Out)
	r.eventually("one is out", "10.0.0.1=in 10.0.0.2=out", all)
	r.eventually("which is reported", generate+" out", func() string { return r.told(2) })
	r.publish(output.Draining, output.Degraded)
	r.eventually("they drain, and serve less", "10.0.0.1=draining 10.0.0.2=in", all)
	if writes := s.Asked("PATCH") + s.Asked("POST "+ownSlices) - before; writes < 2 || writes > 2*crossing {
		t.Errorf("%d writes for two changes", writes)
	}

	s.Put(ownSlices, apitest.Object{"metadata": meta, "addressType": "IPv4", "endpoints": []any{}, "ports": slice["ports"]})
	r.eventually("somebody else's change is undone", "10.0.0.1=draining 10.0.0.2=in", all)
	s.Put(servicesPath, apitest.Object{"metadata": apitest.Object{"name": "llm", "uid": "another"}, "spec": llm(nil)["spec"]})
	r.eventually("the Service is another one", "[map[apiVersion:v1 kind:Service name:llm uid:another]] <nil>", func() string {
		meta := s.Get(ownSlices, "llm-dynmesh-v4-80-1")["metadata"].(apitest.Object)
		return fmt.Sprint(meta["ownerReferences"], " ", meta["labels"].(apitest.Object)["team"])
	})
	byName := &output.Target{Name: generate, Servers: []output.Server{serverOf(1, output.In), serverOf(2, output.In)}}
	byName.Servers[1].Addr = "engine-2:80"
	r.assign(byName)
	r.eventually("a name is left out", "10.0.0.1=in", all)
	r.eventually("which is said", generate+" degraded: an EndpointSlice has IP addresses only, and it is registered as engine-2", func() string { return r.told(2) })
	r.eventually("and the other one is in", generate+" in", func() string { return r.told(1) })
	r.assign()
	r.eventually("nobody serves it any more", "", all)
	if got := s.Names(ownSlices); len(got) != 0 {
		t.Errorf("slices %v are left", got)
	}
}

// Before anything is decided nothing is written, whatever stands there; and what stands there stays
// when the output ends.
func TestSlicesStand(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.Put(servicesPath, llm(nil))
	r := start(t, s, openSlices("llm="+generate))
	r.publish(output.In, output.Out)
	all := endpoints(s)
	r.eventually("written", "10.0.0.1=in 10.0.0.2=out", all)
	r.stop()
	if got := holder(s, slicesLease); got != "" {
		t.Errorf("after its end the Lease is %s's", got)
	}
	again := start(t, s, openSlices("llm="+generate))
	again.eventually("it is elected", "true", func() string { return fmt.Sprint(holder(s, slicesLease) != "") })
	testkit.Eventually(t, within, "it has read all", func() bool { return s.Asked("GET "+ownSlices+"?"+"allowWatchBookmarks") >= 2 })
	again.publish(output.In, output.Out)
	again.eventually("which is reported", generate+" out", func() string { return again.told(2) })
	if writes := s.Asked("PATCH") + s.Asked("DELETE") + s.Asked("POST "+ownSlices); writes != 1 || all() != "10.0.0.1=in 10.0.0.2=out" {
		t.Errorf("%d writes, and there is %s", writes, all())
	}
}

// A version that is not the newest is not overwritten: what there is is read again first.
func TestSlicesConflict(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.Put(servicesPath, llm(nil))
	r := start(t, s, openSlices("llm="+generate))
	r.publish(output.In)
	all := endpoints(s)
	r.eventually("written", "10.0.0.1=in", all)
	s.Refuse("PATCH "+ownSlices+"/llm-dynmesh-v4-80-1", 409)
	r.publish(output.Out)
	testkit.Eventually(t, within, "it tries again", func() bool { return s.Asked("PATCH "+ownSlices) >= 2 })
	if got := r.told(1); !strings.HasPrefix(got, generate+" in: patch EndpointSlice dynamo/llm-dynmesh-v4-80-1: ") {
		t.Errorf("told %q", got)
	}
	s.Refuse("PATCH "+ownSlices+"/llm-dynmesh-v4-80-1", 0)
	r.eventually("written", "10.0.0.1=out", all)
	r.eventually("which is reported", generate+" out", func() string { return r.told(1) })
}

// While the API server is away, that is said, and what is decided is written once it is back.
func TestSlicesAway(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.Put(servicesPath, llm(nil))
	r := start(t, s, openSlices("llm="+generate))
	r.publish(output.In)
	r.eventually("written", "10.0.0.1=in", endpoints(s))
	s.Refuse("PATCH "+ownSlices+"/llm-dynmesh-v4-80-1", 503)
	r.publish(output.Out)
	testkit.Eventually(t, within, "it is said", func() bool { return strings.Contains(r.told(1), "the API server says 503") })
	s.Refuse("PATCH "+ownSlices+"/llm-dynmesh-v4-80-1", 0)
	r.eventually("written", "10.0.0.1=out", endpoints(s))
	r.net.Reset()
	r.publish(output.In)
	r.eventually("written over other connections", "10.0.0.1=in", endpoints(s))
}

// The gates of pods are what is decided of the servers in them; those of others are opened at once.
func TestGates(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for n := range 3 {
		s.Put(ownPods, pod(n+1, n < 2, apitest.Object{"type": "ContainersReady", "status": "True"}))
	}
	r := start(t, s, openGates)
	all := gates(s, 3)
	r.eventually("nothing is decided", "True True -", all)
	r.publish(output.In, output.In, output.In)
	r.eventually("which is reported", generate+" in", func() string { return r.told(1) })
	r.publish(output.Out, output.In, output.Out)
	r.eventually("one is out", "False True -", all)
	r.eventually("which is reported", generate+" out", func() string { return r.told(1) })
	if got := r.told(3); got != "" {
		t.Errorf("of a pod without the gate %q is reported", got)
	}
	c := s.Get(ownPods, "p-1")["status"].(apitest.Object)["conditions"].([]any)
	if gate := c[1].(apitest.Object); len(c) != 2 || gate["reason"] != "NotReady" || gate["message"] != generate+": its canaries fail" {
		t.Errorf("conditions %v", c)
	}
	s.Put(ownPods, pod(4, true))
	r.eventually("a pod that is new, and not known", "False True - True", gates(s, 4))

	before := s.Asked("PATCH")
	s.Put(ownPods, apitest.Object{
		"metadata": apitest.Object{"name": "p-1", "uid": "u-1b"}, "spec": pod(1, true)["spec"], "status": apitest.Object{"conditions": []any{}},
	})
	r.eventually("a pod of the same name is not meant", "True True - True", gates(s, 4))
	if writes := s.Asked("PATCH") - before; writes < 1 || writes > crossing {
		t.Errorf("%d writes for one pod", writes)
	}
	r.publish(output.In, output.Out, output.In)
	r.eventually("another one is out", "True False - True", gates(s, 4))
	held := serverOf(2, output.In)
	held.Held = true
	r.assign(&output.Target{Name: generate, Servers: []output.Server{serverOf(2, output.Out)}}, &output.Target{Name: "model/llama", Servers: []output.Server{held}})
	r.eventually("a model's floor holds it", "True True - True", gates(s, 4))
	r.eventually("which is reported", generate+" in held, model/llama in held", func() string { return r.told(2) })
	r.stop()
	if got := gates(s, 4)(); got != "True True - True" {
		t.Errorf("after its end gates are %s", got)
	}
}

// A server that serves is out where another one in its pod is.
func TestGateOfTwoServers(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.Put(ownPods, pod(1, true))
	r := start(t, s, openGates)
	in := serverOf(1, output.In)
	in.Instance.ID = 7
	r.assign(&output.Target{Name: generate, Servers: []output.Server{in, serverOf(1, output.Out)}})
	r.eventually("it is out", "False", gates(s, 1))
	r.eventually("which is reported", generate+" out", func() string { return r.told(7) })
	r.eventually("of both", generate+" out", func() string { return r.told(1) })
}

// Of two one writes. The other one reports what it sees, and writes once the first has stopped.
func TestHandover(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.Put(ownPods, pod(1, true))
	first := start(t, s, openGates)
	first.eventually("the first writes", "True", gates(s, 1))
	second := start(t, s, openGates)
	second.publish(output.Out)
	testkit.Eventually(t, within, "the second one has read all, and asked for the Lease", func() bool {
		return s.Asked("GET "+ownPods) >= 4 && s.Asked("GET "+leasesPath) >= 2
	})
	if got := gates(s, 1)(); got != "True" {
		t.Fatalf("the second one has written %s", got)
	}
	first.publish(output.Out)
	first.eventually("the first writes", "False", gates(s, 1))
	second.eventually("the second reports it", generate+" out", func() string { return second.told(1) })
	leads := func() string { return fmt.Sprint(first.leads(), second.leads()) }
	first.eventually("the first says that it leads", "true false", leads)
	who := holder(s, gatesLease)
	first.stop()
	stopped := time.Now()
	second.publish(output.In)
	second.eventually("the second writes", "True", gates(s, 1))
	t.Logf("it writes %v after the first has stopped", time.Since(stopped))
	second.eventually("it says so", "true", func() string { return fmt.Sprint(second.leads()) })
	if now := holder(s, gatesLease); now == who || now == "" {
		t.Errorf("the Lease is %q's, and was %q's", now, who)
	}
	if got := s.Get(leasesPath, gatesLease)["spec"].(apitest.Object)["leaseTransitions"]; got != float64(1) {
		t.Errorf("%v transitions", got)
	}
}

// Who may change nothing leaves the writing to one who may, and alone keeps new pods from waiting.
func TestFrozen(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.Put(ownPods, pod(1, true))
	first := start(t, s, openGates)
	first.publish(output.In)
	first.eventually("the first writes", "True", gates(s, 1))
	who := holder(s, gatesLease)
	first.hub.Freeze(true)
	first.publish(output.Out)
	s.Put(ownPods, pod(2, true))
	first.eventually("a pod that is new does not wait", "True True", gates(s, 2))
	testkit.Eventually(t, within, "it leaves the Lease to others", func() bool { return holder(s, gatesLease) == "" })
	testkit.Eventually(t, within, "there are no others", func() bool { return holder(s, gatesLease) == who })
	second := start(t, s, openGates)
	second.publish(output.Out)
	first.hub.Freeze(false) // begins another time
	first.eventually("it writes what had to wait", "False True", gates(s, 2))
	turns := s.Asked("PUT " + leasesPath)
	testkit.Eventually(t, within, "a turn of its election", func() bool { return s.Asked("PUT "+leasesPath) >= turns+2 })
	first.hub.Freeze(true)
	second.publish(output.In)
	second.eventually("another one writes", "True True", gates(s, 2))
	if now := holder(s, gatesLease); now == who {
		t.Errorf("the Lease is still %s's", now)
	}
}

// An account that may not use Leases writes nothing, and that is said.
func TestForbidden(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.Refuse(leasesPath+"/"+gatesLease, 403)
	s.Put(ownPods, pod(1, true))
	r := start(t, s, openGates)
	r.publish(output.Out)
	testkit.Eventually(t, within, "it is said", func() bool {
		return strings.Contains(r.told(1), "read Lease dynmesh-readinessgates: the API server says 403")
	})
	if got := s.Asked("PATCH"); got != 0 {
		t.Errorf("%d writes", got)
	}
	s.Refuse(leasesPath+"/"+gatesLease, 0)
	r.eventually("once it may", "False", gates(s, 1))
}

// What is left behind is undone without anybody who runs.
func TestRelease(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	False := apitest.Object{"type": "dynmesh.dev/ready", "status": "False"}
	s.Put(ownPods, pod(1, true, False))
	s.Put(ownPods, pod(2, true, apitest.Object{"type": "dynmesh.dev/ready", "status": "True"}))
	s.Put(ownPods, pod(3, false))
	s.Put(ownPods, pod(4, true))
	own := apitest.Object{"endpointslice.kubernetes.io/managed-by": "dynmesh", serviceLabel: "llm"}
	s.Put(ownSlices, apitest.Object{"metadata": apitest.Object{"name": "llm-1", "labels": own}})
	s.Put(ownSlices, apitest.Object{"metadata": apitest.Object{"name": "other", "labels": apitest.Object{serviceLabel: "llm"}}})
	kubeconfig, _ := s.Reach()
	const all = "EndpointSlice dynamo/llm-1 of the Service llm is removed; pod dynamo/p-1: dynmesh.dev/ready is True; pod dynamo/p-4: dynmesh.dev/ready is True"
	for n, want := range []string{strings.ReplaceAll(all, " is ", " would be "), all, ""} {
		dryRun := n == 0
		var lines []string
		r, err := NewRelease(Config{Kubeconfig: kubeconfig}, dryRun, func(line string) { lines = append(lines, line) })
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Gates(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Slices(t.Context(), []string{"llm=" + generate}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(lines)
		if got := strings.Join(lines, "; "); got != want {
			t.Errorf("dry run %v: did %s, want %s", dryRun, got, want)
		}
		if writes := s.Asked("PATCH") + s.Asked("DELETE"); dryRun && writes != 0 || !dryRun && writes != 3 {
			t.Errorf("dry run %v: %d writes", dryRun, writes)
		}
	}
	if got := gates(s, 4)() + " " + strings.Join(s.Names(ownSlices), " "); got != "True True - True other" {
		t.Errorf("there is %s", got)
	}
}

// What cannot be used is said, and what can.
func TestMappings(t *testing.T) {
	s := startServer(t)
	kubeconfig, _ := s.Reach()
	for services, want := range map[string]string{
		"llm=" + generate + " dynamo/llm=model/x": "the Service dynamo/llm is named twice",
		"=" + generate:          "want namespace/service=",
		"a/b/c=" + generate:     "want namespace/service=",
		"LLM=" + generate:       "want namespace/service=",
		"llm=model/":            "want namespace/service=",
		"llm:80 80=" + generate: "want namespace/service=",
	} {
		_, err := NewSlices(SlicesConfig{Config{Kubeconfig: kubeconfig}, strings.Split(services, " ")})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", services, err, want)
		}
	}
	if _, err := NewGates(Config{Kubeconfig: kubeconfig, Lease: "A"}); err == nil || !strings.Contains(err.Error(), "letters a to z") {
		t.Errorf("a Lease called A: %v", err)
	}
}
