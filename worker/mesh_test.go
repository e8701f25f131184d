package worker

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/mocker"
)

// Workers and frontends find each other by what etcd says of them, and a worker tells what it is
// and what it serves.
func TestMesh(t *testing.T) {
	registry, _ := startEtcd(t)
	a := run(t, meshed(registry), map[string]Handler{"generate": echo, "embed": echo})
	b := run(t, meshed(registry), map[string]Handler{"generate": echo})
	for _, w := range []*harness{a, b} {
		testkit.Eventually(t, waitLimit, "the workers know each other", func() bool {
			_, metrics := w.get("/metrics")
			return strings.Contains(metrics, `dynmesh_gossip_members{state="alive"} 2`)
		})
	}
	o := startOnlooker(t, registry)
	for _, w := range []*harness{a, b} {
		testkit.Eventually(t, waitLimit, "the frontend knows the worker", func() bool { return o.state(w.Worker) == dynmesh.Alive })
		testkit.Eventually(t, waitLimit, "it says that it is there", func() bool { return o.says(w.Worker, "", dynmesh.Pass, false) })
		testkit.Eventually(t, waitLimit, "its endpoint is ready", func() bool { return o.says(w.Worker, "generate", dynmesh.Unchecked, true) })
		testkit.Eventually(t, waitLimit, "others reach it", func() bool { return o.watched(w.Worker) })
	}
	testkit.Eventually(t, waitLimit, "its other endpoint is ready", func() bool { return o.says(a.Worker, "embed", dynmesh.Unchecked, true) })
	for _, note := range []string{"the engine's counters cannot be read", ""} {
		a.Note(note)
		testkit.Eventually(t, waitLimit, "what people should know of it is told", func() bool {
			f, ok := o.own(a.Worker, "")
			return ok && f.Detail == note && f.Finding == dynmesh.Pass
		})
	}
	o.mu.Lock()
	m := o.members[a.mesh.pool.Self()]
	o.mu.Unlock()
	want := dynmesh.Member{
		Observer: a.mesh.pool.Self(), Role: dynmesh.RoleWorker, Addr: a.GossipAddr(), Service: a.RPCAddr(), LeaseTTL: 10 * time.Second,
		State: dynmesh.Alive, Since: m.Since, PublicKey: gossip.PublicKey(a.mesh.identity),
	}
	if m != want || m.ID != a.ID() {
		t.Errorf("the frontend knows %+v, want %+v", m, want)
	}
	members, err := etcd.SampleMembers(t.Context(), registry, 10)
	if err != nil || len(members) != 2 {
		t.Fatalf("etcd has %v, %v, want both workers", members, err)
	}
	addrs := discovery.GossipAddrs(members)
	slices.Sort(addrs)
	if want := slices.Sorted(slices.Values([]string{a.GossipAddr(), b.GossipAddr()})); !slices.Equal(addrs, want) {
		t.Errorf("etcd has %v for gossip, want %v", addrs, want)
	}
}

// saying is a measurer that says one thing, and what became of it.
type saying struct {
	sample string
	ended  chan struct{}
}

func (s saying) Measure() dynmesh.Measure { return dynmesh.MeasurePace }

func (s saying) Run(ctx context.Context, say func(string)) {
	defer close(s.ended)
	say(s.sample)
	<-ctx.Done()
}

// What is measured of an endpoint is told to the mesh, and measuring ends before the worker does.
func TestMeasured(t *testing.T) {
	registry, _ := startEtcd(t)
	w, err := New(meshed(registry))
	if err != nil {
		t.Fatal(err)
	}
	by := saying{"\x00sample", make(chan struct{})}
	if err := w.Measure("generate", by); err == nil {
		t.Error("an endpoint that is not declared is measured")
	}
	if err := w.Handle("generate", echo); err != nil {
		t.Fatal(err)
	}
	if err := w.Measure("generate", by); err != nil {
		t.Fatal(err)
	}
	if err := w.Measure("generate", saying{"", make(chan struct{})}); err == nil || err.Error() != `measure endpoint "generate": it has a measurer of this measure (2) already` {
		t.Errorf("two measure the same: got %v", err)
	}
	o := startOnlooker(t, registry)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	of := dynmesh.Subject{
		ID: w.ID(), Endpoint: dynmesh.Endpoint{Namespace: w.cfg.Namespace, Component: w.cfg.Component, Name: "generate"}, Measure: dynmesh.MeasurePace,
	}
	testkit.Eventually(t, waitLimit, "the sample is told", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.findings[dynmesh.ObservationKey{Observer: w.mesh.pool.Self(), Subject: of}].Sample == by.sample
	})
	stop()
	running.Wait()
	select {
	case <-by.ended:
	default:
		t.Error("the worker has ended, and measures on")
	}
	if err := w.Measure("generate", by); err == nil {
		t.Error("a worker that has run is measured")
	}
}

// A worker that ends says so before it is taken from the registry, goes on until its requests are
// answered, and leaves: it is not taken for dead. A new one in its place is known at once.
func TestMeshShutdown(t *testing.T) {
	registry, seen := startEtcd(t)
	cfg := meshed(registry)
	g := newGate()
	r := run(t, cfg, map[string]Handler{"generate": g.handle})
	other := run(t, meshed(registry), map[string]Handler{"embed": echo})
	o := startOnlooker(t, registry)
	arrives(t, "it is registered", r.Registered())
	arrives(t, "the other one, too", other.Registered())
	testkit.Eventually(t, waitLimit, "the registry has both", func() bool { return len(seen.transports()) == 2 })
	testkit.Eventually(t, waitLimit, "the frontend knows it", func() bool {
		return o.says(r.Worker, "generate", dynmesh.Unchecked, true) && o.state(r.Worker) == dynmesh.Alive
	})

	resp := r.generate()
	defer func() { _ = resp.Body.Close() }()
	arrives(t, "the handler works", g.entered)
	r.cancel()
	testkit.Eventually(t, waitLimit, "its keys are gone", func() bool { return len(seen.transports()) == 1 })
	gone := time.Now()
	if f, _ := o.own(r.Worker, ""); !f.Draining || gone.Sub(f.At) < drainNotice {
		t.Errorf("when its keys were gone the frontend had heard %+v, want that it drains, since %v at least", f, drainNotice)
	}
	if s := o.state(r.Worker); s != dynmesh.Alive {
		t.Errorf("while it drains it is %s, want alive", s)
	}
	close(g.open)
	r.join()
	testkit.Eventually(t, waitLimit, "it has left", func() bool { return o.state(r.Worker) == dynmesh.Left })

	// As a supervisor would start it again: on the same ports.
	_, cfg.RPC.Port = splitPort(t, r.RPCAddr())
	cfg.Gossip = &gossip.Config{Bind: r.GossipAddr(), Keyring: gossip.Unencrypted()}
	again := run(t, cfg, map[string]Handler{"generate": echo})
	testkit.Eventually(t, waitLimit, "the new one is known", func() bool {
		return o.says(again.Worker, "generate", dynmesh.Unchecked, true) && o.state(again.Worker) == dynmesh.Alive
	})
}

func splitPort(t *testing.T, addr string) (host string, port int) {
	t.Helper()
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return at.IP.String(), at.Port
}

// What canaries find is known to others as soon as to the worker, with etcd or without it.
func TestMeshWithoutEtcd(t *testing.T) {
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	closed := sync.OnceValue(server.Close)
	t.Cleanup(func() {
		if err := closed(); err != nil {
			t.Error(err)
		}
	})
	registry := etcd.Config{Endpoints: []string{server.Endpoint()}}
	r, engine := withCanaries(t, meshed(registry))
	o := startOnlooker(t, registry)
	testkit.Eventually(t, waitLimit, "a canary has passed", func() bool {
		return o.says(r.Worker, "generate", dynmesh.Pass, true) && o.says(r.Worker, "embed", dynmesh.Unchecked, true)
	})
	if f, _ := o.own(r.Worker, "generate"); f.Kind != dynmesh.KindCanary || f.Latency <= 0 {
		t.Errorf("the frontend was told %+v, want a canary and how long it took", f)
	}
	setKnobs(t, engine, mocker.Knobs{ErrorStatus: 503})
	testkit.Eventually(t, waitLimit, "a canary has failed", func() bool { return o.says(r.Worker, "generate", dynmesh.Fail, false) })
	if f, _ := o.own(r.Worker, "generate"); f.Reason == "" || f.Detail == "" {
		t.Errorf("the frontend was told %+v, want the reason", f)
	}

	if err := closed(); err != nil {
		t.Fatal(err)
	}
	setKnobs(t, engine, mocker.Knobs{})
	testkit.Eventually(t, waitLimit, "it has recovered", func() bool { return o.says(r.Worker, "generate", dynmesh.Pass, true) })
	if status, text := r.call("generate", `{"prompt":"x","max_tokens":1}`); status != 200 {
		t.Fatalf("a request: %d %s", status, text)
	}
	testkit.Eventually(t, waitLimit, "traffic vouches for it", func() bool {
		f, _ := o.own(r.Worker, "generate")
		return f.Kind == dynmesh.KindTraffic && f.Finding == dynmesh.Busy && f.Ready || f.Finding == dynmesh.Pass
	})
	if s := o.state(r.Worker); s != dynmesh.Alive {
		t.Errorf("without etcd the worker is %s, want alive", s)
	}
}

// Whatever stands in the members' bucket keeps nobody from finding the others.
func TestMeshBesideJunk(t *testing.T) {
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	registry := etcd.Config{Endpoints: []string{server.Endpoint()}}
	client, err := clientv3.New(clientv3.Config{Endpoints: registry.Endpoints, DialTimeout: waitLimit})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	for key, value := range map[string]string{
		"x": "{}", "1": "junk", "2": `{"gossip_addr":"no address"}`, "3": `{"gossip_addr":"127.0.0.1:1"}`,
		"4000000000000000": `{"gossip_addr":"` + server.Endpoint()[len("http://"):] + `"}`, // somebody who does not gossip
		"5000000000000000": `{"host":"an older version"}`, "6000000000000000": `{"gossip_addr":"nobody.invalid:7946"}`,
	} {
		if _, err := client.Put(t.Context(), "v1/dynmesh/members/"+key, value); err != nil {
			t.Fatal(err)
		}
	}
	a := run(t, meshed(registry), map[string]Handler{"generate": echo})
	b := run(t, meshed(registry), map[string]Handler{"generate": echo})
	o := startOnlooker(t, registry)
	for _, w := range []*harness{a, b} {
		testkit.Eventually(t, waitLimit, "the frontend knows the worker", func() bool {
			return o.says(w.Worker, "generate", dynmesh.Unchecked, true) && o.state(w.Worker) == dynmesh.Alive
		})
	}
}

func TestFindingOf(t *testing.T) {
	e := dynmesh.Endpoint{Namespace: "n", Component: "c", Name: "e"}
	base := dynmesh.Report{Subject: dynmesh.Subject{ID: 7, Endpoint: e}, Kind: dynmesh.KindCanary}
	for _, tt := range []struct {
		name   string
		status canary.Status
		want   func(*dynmesh.Report)
	}{
		{"served", canary.Status{Finding: dynmesh.Unchecked, Ready: true}, func(f *dynmesh.Report) { f.Finding, f.Ready = dynmesh.Unchecked, true }},
		{"passed", canary.Status{Finding: dynmesh.Pass, Ready: true, Duration: time.Second},
			func(f *dynmesh.Report) { f.Finding, f.Ready, f.Latency = dynmesh.Pass, true, time.Second }},
		{"failed, below the threshold", canary.Status{Finding: dynmesh.Fail, Ready: true, Reason: dynmesh.ReasonTimeout, Detail: "d", Duration: time.Second},
			func(f *dynmesh.Report) {
				f.Finding, f.Ready, f.Reason, f.Detail = dynmesh.Fail, true, dynmesh.ReasonTimeout, "d"
			}},
		{"requests failed", canary.Status{Finding: dynmesh.Fail, Reason: dynmesh.ReasonStatus, Rejected: true}, func(f *dynmesh.Report) {
			f.Kind, f.Finding, f.Reason = dynmesh.KindTraffic, dynmesh.Fail, dynmesh.ReasonStatus
		}},
		{"busy", canary.Status{Finding: dynmesh.Busy, Ready: true, Reason: dynmesh.ReasonTimeout, Duration: time.Second},
			func(f *dynmesh.Report) { f.Kind, f.Finding, f.Ready = dynmesh.KindTraffic, dynmesh.Busy, true }},
		{"stalled", canary.Status{Finding: dynmesh.Stalled, Detail: "2 in flight"}, func(f *dynmesh.Report) { f.Finding, f.Detail = dynmesh.Stalled, "2 in flight" }},
	} {
		want := base
		tt.want(&want)
		if got := findingOf(7, e, tt.status); got != want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
	}
}

func TestGossipConfig(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*Config)
		want string
	}{
		{"bind", func(c *Config) { c.Gossip = &gossip.Config{Bind: "nowhere"} }, "field Bind"},
		{"advertise", func(c *Config) { c.Gossip = &gossip.Config{Bind: "127.0.0.1:0", Advertise: "0.0.0.0"} }, "field Advertise"},
		{"label", func(c *Config) { c.Gossip = &gossip.Config{Label: strings.Repeat("x", 100)} }, "field Label"},
	} {
		cfg := local()
		tt.edit(&cfg)
		w, err := New(cfg)
		if err == nil || !strings.HasPrefix(err.Error(), "new worker: gossip: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: New = %v, want an error that names the %s", tt.name, err, tt.want)
		}
		if w != nil {
			_ = w.Close()
		}
	}
}

// Which address others are told: where the pool is bound, else the worker's own, where that is one.
func TestGossipHost(t *testing.T) {
	for _, tt := range []struct{ bind, host, want string }{
		{"", "10.1.2.3", "10.1.2.3"},
		{"0.0.0.0:7946", "10.1.2.3", "10.1.2.3"},
		{":7946", "10.1.2.3", "10.1.2.3"},
		{"[::]:0", "fd00::1", "fd00::1"},
		{"127.0.0.1:0", "10.1.2.3", ""},
		{"", "worker.example", "127.0.0.1"}, // the way to etcd
	} {
		if got := gossipHost(tt.bind, tt.host, local().Etcd.Addrs()); got != tt.want {
			t.Errorf("bound to %q, worker at %s: %q, want %q", tt.bind, tt.host, got, tt.want)
		}
	}
}

// A worker that never runs, and one that cannot be made, hold no address.
func TestGossipIsReleased(t *testing.T) {
	free := func(addr string) {
		t.Helper()
		conn, err := net.ListenPacket("udp", addr)
		if err != nil {
			t.Errorf("%s is held: %v", addr, err)
			return
		}
		_ = conn.Close()
	}
	w := create(t, meshed(local().Etcd), nil)
	addr := w.GossipAddr()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	free(addr)
	cfg := meshed(local().Etcd)
	cfg.Gossip.Bind, cfg.LeaseTTL = addr, time.Second
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "TTL") {
		t.Errorf("New = %v, want an error of the lease", err)
	}
	free(addr)

	r := drive(t, create(t, meshed(local().Etcd), map[string]Handler{"echo": echo}))
	r.ready()
	addr = r.GossipAddr()
	r.cancel()
	r.join()
	free(addr)
	if none := create(t, local(), nil).GossipAddr(); none != "" {
		t.Errorf("a worker without gossip is at %q", none)
	}
}
