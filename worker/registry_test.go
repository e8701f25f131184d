package worker

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// registry is what a frontend would see in etcd.
type registry struct {
	mu        sync.Mutex
	instances map[dynmesh.InstanceKey]dynmesh.Instance
}

func (r *registry) apply(u dynmesh.RegistryUpdate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range u.Puts {
		r.instances[i.InstanceKey] = i
	}
	for _, k := range u.Deletes {
		delete(r.instances, k)
	}
}

// transports returns each instance's transport by its endpoint and ID.
func (r *registry) transports() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := map[string]string{}
	for key, i := range r.instances {
		found[key.Endpoint.String()+" "+key.ID.String()] = string(i.Transport)
	}
	return found
}

// startEtcd runs an etcd and follows what is registered there, both for the time of the test.
func startEtcd(t *testing.T) (etcd.Config, *registry) {
	t.Helper()
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("close etcd: %v", err)
		}
	})
	cfg := etcd.Config{Endpoints: []string{server.Endpoint()}}
	watcher, err := etcd.NewWatcher(etcd.WatcherConfig{Etcd: cfg})
	if err != nil {
		t.Fatal(err)
	}
	seen := &registry{instances: map[dynmesh.InstanceKey]dynmesh.Instance{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- watcher.Run(ctx, seen.apply) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	return cfg, seen
}

// TestRegistration: a worker appears in etcd once it serves, and when it stops it is gone from
// there before its last request has finished: nobody is sent to a worker that leaves.
func TestRegistration(t *testing.T) {
	reg, seen := startEtcd(t)
	cfg := local()
	cfg.Etcd = reg
	cfg.Namespace, cfg.Component = "prod", "prefill"
	g := newGate()
	r := run(t, cfg, map[string]Handler{"generate": g.handle, "echo": echo})
	arrives(t, "it is registered", r.Registered())
	url := func(endpoint string) string {
		return fmt.Sprintf(`{"http":"http://%s/v1/rpc/%s"}`, r.RPCAddr(), endpoint)
	}
	want := map[string]string{
		"dyn://prod.prefill.generate " + r.ID().String(): url("generate"),
		"dyn://prod.prefill.echo " + r.ID().String():     url("echo"),
	}
	testkit.Eventually(t, waitLimit, "the watcher has seen it", func() bool { return len(seen.transports()) == len(want) })
	for key, transport := range seen.transports() {
		if want[key] != transport {
			t.Errorf("%s is reached by %s, want %s", key, transport, want[key])
		}
	}
	r.ready()

	resp := r.generate()
	defer func() { _ = resp.Body.Close() }()
	arrives(t, "the handler works", g.entered)
	r.cancel()
	testkit.Eventually(t, waitLimit, "the keys are gone", func() bool { return len(seen.transports()) == 0 })
	if got := r.activity("generate").InFlight; got != 1 {
		t.Errorf("got %d requests in flight when the keys were gone, want 1", got)
	}
	close(g.open)
	if answer, err := io.ReadAll(resp.Body); err != nil || string(answer) != "\"first\"\n\"last\"\n" {
		t.Errorf("got answer %q (%v), want it whole", answer, err)
	}
	r.join()
}

// TestReadyWithoutEtcd: readiness and registration do not wait for each other.
func TestReadyWithoutEtcd(t *testing.T) {
	r := run(t, local(), map[string]Handler{"echo": echo})
	r.ready()
	if status, body := r.call("echo", `{}`); status != 200 || body != "{}\n" {
		t.Errorf("got %d %q, want an answer", status, body)
	}
	select {
	case <-r.Registered():
		t.Error("it says that it is registered")
	default:
	}
	pace, start := testkit.Paced(t), time.Now()
	r.cancel()
	r.join()
	if d := pace.Since(start); d > 4*time.Second {
		t.Errorf("Run took %v to end, want no more than the registrar's 3s", d)
	}
}

// TestRegisterAfter: a worker whose registration is held back serves, says whether it is ready,
// and is in nobody's list before it is let go.
func TestRegisterAfter(t *testing.T) {
	reg, seen := startEtcd(t)
	first := run(t, etcdConfig(reg, nil), map[string]Handler{"echo": echo})
	arrives(t, "the other one is registered", first.Registered())

	release := make(chan struct{})
	r := run(t, etcdConfig(reg, release), map[string]Handler{"echo": echo})
	r.ready()
	if status, body := r.call("echo", `{}`); status != 200 || body != "{}\n" {
		t.Errorf("got %d %q, want an answer", status, body)
	}
	// One that is not held back, and began later, overtakes it.
	last := run(t, etcdConfig(reg, nil), map[string]Handler{"echo": echo})
	arrives(t, "the last one is registered", last.Registered())
	testkit.Eventually(t, waitLimit, "the watcher has seen it", func() bool { return len(seen.transports()) == 2 })
	if _, ok := seen.transports()["dyn://dynamo.backend.echo "+r.ID().String()]; ok {
		t.Error("it is registered while it is held back")
	}
	close(release)
	arrives(t, "it is registered", r.Registered())
	testkit.Eventually(t, waitLimit, "the watcher has seen it, too", func() bool { return len(seen.transports()) == 3 })
}

// TestShutdownBeforeRegistration: what holds a registration back does not hold up the end.
func TestShutdownBeforeRegistration(t *testing.T) {
	reg, seen := startEtcd(t)
	r := run(t, etcdConfig(reg, make(chan struct{})), map[string]Handler{"echo": echo})
	r.ready()
	pace, start := testkit.Paced(t), time.Now()
	r.cancel()
	r.join()
	if d := pace.Since(start); d > time.Second {
		t.Errorf("Run took %v to end, want no wait: there is nothing to deregister", d)
	}
	if got := seen.transports(); len(got) != 0 {
		t.Errorf("registered: %v, want nothing", got)
	}
}

func etcdConfig(reg etcd.Config, release <-chan struct{}) Config {
	cfg := local()
	cfg.Etcd, cfg.RegisterAfter = reg, release
	return cfg
}
