package kubernetes

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/internal/apiserver"
	"github.com/dynmesh/dynmesh/internal/apiserver/apitest"
	"github.com/dynmesh/dynmesh/internal/logging"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func discard() *logrus.Entry { return logging.OrDiscard(nil) }

// within is far more than what takes a few milliseconds, or the 2.4 s of a turn of an election.
const within = 30 * time.Second

const (
	generate     = "dyn://dynamo.backend.generate"
	leasesPath   = "/apis/coordination.k8s.io/v1/namespaces/" + apitest.Namespace + "/leases"
	servicesPath = "/api/v1/namespaces/" + apitest.Namespace + "/services"
)

var (
	ownSlices = slicesPath(apitest.Namespace)
	ownPods   = podsPath(apitest.Namespace)
)

func startServer(t *testing.T) *apitest.Server {
	return apitest.Start(t, leasesPath, servicesPath, ownSlices, ownPods)
}

// rig is an output that runs, and what it is told.
type rig struct {
	*testing.T
	hub  *output.Hub
	net  *testkit.Network
	log  *testkit.Buffer
	stop func() // waits for its end
	n    uint64
}

// start runs an output that open makes.
func start(t *testing.T, s *apitest.Server, open func(Config) (output.Output, error)) *rig {
	t.Helper()
	kubeconfig, net := s.Reach()
	log, said := testkit.Log()
	o, err := open(Config{Kubeconfig: kubeconfig, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &rig{T: t, hub: output.NewHub([]string{o.Name()}, false), net: net, log: said}
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx, r.hub.Feeds()[0]) }()
	stopped := false
	r.stop = func() {
		cancel()
		if stopped {
			return
		}
		stopped = true
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(within):
			t.Error("Run does not end")
		}
	}
	t.Cleanup(r.stop)
	return r
}

// leads returns what the output says of that.
func (r *rig) leads() bool {
	for _, c := range r.hub.Counts() {
		return c.Leads != nil && *c.Leads
	}
	return false
}

// publish tells of servers 10.0.0.1:80 in the pod p-1 of the uid u-1, and so on.
func (r *rig) publish(states ...output.State) {
	t := &output.Target{Name: generate}
	for n, s := range states {
		t.Servers = append(t.Servers, serverOf(n+1, s))
	}
	r.assign(t)
}

func (r *rig) assign(targets ...*output.Target) {
	r.n++
	r.hub.Publish(&output.Assignment{Version: r.n, Targets: targets}, time.Now())
}

func serverOf(n int, s output.State) output.Server {
	return output.Server{
		Instance: keyOf(n), Addr: fmt.Sprintf("10.0.0.%d:80", n), Scheme: "http", State: s, Verdict: dynmesh.NotReady,
		Pod: output.Pod{Name: fmt.Sprint("p-", n), UID: fmt.Sprint("u-", n), Node: "node-a"}, Reason: "its canaries fail",
	}
}

func keyOf(n int) dynmesh.InstanceKey {
	return dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}, ID: dynmesh.InstanceID(n)}
}

// eventually waits for a text.
func (r *rig) eventually(what, want string, got func() string) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for ticks := time.NewTicker(5 * time.Millisecond); ; {
		last := got()
		if last == want {
			ticks.Stop()
			return
		}
		select {
		case <-ctx.Done():
			ticks.Stop()
			r.Fatalf("%s: got %q, want %q\n%s", what, last, want, r.log)
		case <-ticks.C:
		}
	}
}

// told is what the hub has of an instance.
func (r *rig) told(n int) string {
	var all []string
	for _, record := range r.hub.Records(keyOf(n)) {
		said := record.Target + " " + record.State.String()
		if record.Held {
			said += " held"
		}
		if record.Error != "" {
			said += ": " + record.Error
		}
		all = append(all, said)
	}
	return strings.Join(all, ", ")
}

func holder(s *apitest.Server, name string) string {
	l := s.Get(leasesPath, name)
	if l == nil {
		return ""
	}
	who, _ := l["spec"].(apitest.Object)["holderIdentity"].(string)
	return who
}

func pod(n int, gated bool, conditions ...any) apitest.Object {
	spec := apitest.Object{}
	if gated {
		spec["readinessGates"] = []any{apitest.Object{"conditionType": apiserver.ReadinessGate}}
	}
	return apitest.Object{
		"metadata": apitest.Object{"name": fmt.Sprint("p-", n), "uid": fmt.Sprint("u-", n)}, "spec": spec, "status": apitest.Object{"conditions": conditions},
	}
}

// gates are those of pods p-1 to p-n, as they are written.
func gates(s *apitest.Server, n int) func() string {
	return func() string {
		var all []string
		for i := range n {
			all = append(all, gateOf(s.Get(ownPods, fmt.Sprint("p-", i+1))))
		}
		return strings.Join(all, " ")
	}
}

func gateOf(pod apitest.Object) string {
	if pod == nil {
		return "?"
	}
	conditions, _ := pod["status"].(apitest.Object)["conditions"].([]any)
	for _, c := range conditions {
		if c := c.(apitest.Object); c["type"] == apiserver.ReadinessGate {
			return c["status"].(string)
		}
	}
	return "-"
}

// endpoints are those of all slices that dynmesh has written for the Service llm, and how they are.
func endpoints(s *apitest.Server) func() string {
	return func() string {
		var all []string
		for _, name := range s.Names(ownSlices) {
			o := s.Get(ownSlices, name)
			labels := o["metadata"].(apitest.Object)["labels"].(apitest.Object)
			if labels[serviceLabel] != "llm" || labels[apiserver.ManagedBy] != apiserver.Manager {
				continue
			}
			list, _ := o["endpoints"].([]any)
			for _, e := range list {
				c := e.(apitest.Object)["conditions"].(apitest.Object)
				how := "out"
				switch {
				case c["ready"] == true:
					how = "in"
				case c["terminating"] == true:
					how = "draining"
				}
				all = append(all, fmt.Sprint(e.(apitest.Object)["addresses"].([]any)[0], "=", how))
			}
		}
		return strings.Join(all, " ")
	}
}
