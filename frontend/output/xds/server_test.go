package xds

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/prometheus/client_golang/prometheus/testutil"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestStateOfTheWorldSendsWhatChanged(t *testing.T) {
	s, publish := serve(t, Config{})
	a, b := target("dyn://n.a.generate", output.In, output.In), target("dyn://n.b.generate", output.In)
	publish(a, b)
	w := openWorld(t, s, "envoy")
	w.ask(resource.EndpointType, nil, a.Name, b.Name)
	r := w.answer()
	if got := states(t, r.GetResources()...); len(got) != 2 || len(got[a.Name]) != 2 || len(got[b.Name]) != 1 {
		t.Fatalf("first answer: %v, want both clusters", got)
	}
	w.ask(resource.EndpointType, r, a.Name, b.Name)

	publish(target(a.Name, output.In, output.In), b) // the same content in other memory
	a = target(a.Name, output.In, output.Out)
	publish(a, b)
	r = w.answer()
	got := states(t, r.GetResources()...)
	if len(got) != 1 || got[a.Name]["10.0.0.2"] != "UNHEALTHY" {
		t.Errorf("after a change of %s: %v, want that cluster alone, its second replica UNHEALTHY", a.Name, got)
	}
	w.ask(resource.EndpointType, r, a.Name, b.Name)

	publish(a)
	if got := states(t, w.answer().GetResources()...); len(got) != 1 || got[b.Name] == nil || len(got[b.Name]) != 0 {
		t.Errorf("after the end of %s: %v, want that cluster, empty", b.Name, got)
	}
}

func TestDeltaIsResumedAtAnotherFrontend(t *testing.T) {
	one, publishOne := serve(t, Config{})
	other, publishOther := serve(t, Config{})
	a, b := target("dyn://n.a.generate", output.In, output.In), target("dyn://n.b.generate", output.In)
	publishOne(a, b)
	publishOther(b)
	publishOther(b, a)

	c := openDeltas(t, one)
	c.ask(&discoveryv3.DeltaDiscoveryRequest{ResourceNamesSubscribe: []string{a.Name, b.Name}})
	versions := map[string]string{}
	for _, r := range c.answer().GetResources() {
		versions[r.GetName()] = r.GetVersion()
	}
	if len(versions) != 2 {
		t.Fatalf("first answer: %v, want both clusters", versions)
	}

	c = openDeltas(t, other)
	c.ask(&discoveryv3.DeltaDiscoveryRequest{ResourceNamesSubscribe: []string{a.Name, b.Name}, InitialResourceVersions: versions})
	// Another type's answer comes after what the first request had to be answered.
	if err := c.stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.ClusterType}); err != nil {
		t.Fatal(err)
	}
	if r := c.answer(); r.GetTypeUrl() != resource.ClusterType {
		t.Fatalf("a frontend of the same opinion sent %v, want nothing new", r)
	}
	publishOther(b, target(a.Name, output.Draining, output.In))
	r := c.answer()
	if len(r.GetResources()) != 1 || states(t, r.GetResources()[0].GetResource())[a.Name]["10.0.0.1"] != "DRAINING" {
		t.Errorf("after a change: %v, want %s alone", r, a.Name)
	}
}

// Envoy asks for all clusters and listeners that there are, and rejects those of gRPC.
func TestEnvoyAndGRPCSeeTheirOwn(t *testing.T) {
	s, publish := serve(t, Config{})
	publish(target(generate, output.In), target("model/tiny", output.In))
	for client, want := range map[string]struct {
		policy    clusterv3.Cluster_LbPolicy
		listeners []string
	}{
		"envoy":   {clusterv3.Cluster_LEAST_REQUEST, []string{EnvoyListener}},
		"gRPC Go": {clusterv3.Cluster_ROUND_ROBIN, []string{generate, "model/tiny"}},
	} {
		w := openWorld(t, s, client)
		w.ask(resource.ClusterType, nil)
		r := w.answer()
		if len(r.GetResources()) != 2 {
			t.Errorf("%s: %d clusters, want 2", client, len(r.GetResources()))
		}
		for _, p := range r.GetResources() {
			var c clusterv3.Cluster
			if err := p.UnmarshalTo(&c); err != nil || c.GetLbPolicy() != want.policy {
				t.Errorf("%s: cluster %v (%v), want %v", client, &c, err, want.policy)
			}
		}
		w.ask(resource.ListenerType, nil)
		var names []string
		for _, p := range w.answer().GetResources() {
			var l listenerv3.Listener
			if err := p.UnmarshalTo(&l); err != nil {
				t.Fatal(err)
			}
			names = append(names, l.GetName())
		}
		if slices.Sort(names); !slices.Equal(names, want.listeners) {
			t.Errorf("%s: listeners %v, want %v", client, names, want.listeners)
		}
	}
}

func TestRefusesUntilPublished(t *testing.T) {
	s, publish := serve(t, Config{})
	w := openWorld(t, s, "envoy")
	if _, err := w.stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("before anything is known: %v, want Unavailable, so that a client keeps what it has", err)
	}
	publish()
	w = openWorld(t, s, "envoy")
	w.ask(resource.ClusterType, nil)
	if r := w.answer(); len(r.GetResources()) != 0 {
		t.Errorf("an empty registry: %v, want no clusters", r)
	}
}

// Who may ask a frontend over HTTP may ask it over xDS.
func TestAccess(t *testing.T) {
	folder := t.TempDir()
	var cfg Config
	cfg.Access.CertFile, cfg.Access.KeyFile = testkit.Certificate(t, folder, "server")
	const token = "a-token-of-enough-bytes"
	cfg.Access.TokenFile = filepath.Join(folder, "tokens")
	if err := os.WriteFile(cfg.Access.TokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	s, publish := serve(t, cfg)
	publish(target(generate, output.In))
	tls, err := access.Client{CAFile: cfg.Access.CertFile}.TLS()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		as    credentials.TransportCredentials
		given string
		want  codes.Code
	}{
		{insecure.NewCredentials(), "Bearer " + token, codes.Unavailable},
		{credentials.NewTLS(tls), "", codes.Unauthenticated},
		{credentials.NewTLS(tls), "Bearer another-of-enough-bytes", codes.Unauthenticated},
		{credentials.NewTLS(tls), "Bearer " + token, codes.OK},
	} {
		ads, ctx := dialAs(t, s, test.as)
		stream, err := ads.StreamAggregatedResources(metadata.AppendToOutgoingContext(ctx, "authorization", test.given))
		if err == nil {
			_ = stream.Send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.ClusterType}) // it may have ended, which Recv says
			_, err = stream.Recv()
		}
		if status.Code(err) != test.want {
			t.Errorf("%s, %q: got %v, want %s", test.as.Info().SecurityProtocol, test.given, err, test.want)
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	s, publish := serve(t, Config{MaxStreams: 2})
	publish(target(generate, output.In))
	ads, ctx := dial(t, s)
	open := func() *world {
		t.Helper()
		stream, err := ads.StreamAggregatedResources(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return &world{t, stream, "envoy"}
	}
	for range 2 {
		w := open()
		w.ask(resource.EndpointType, nil, generate)
		w.answer()
	}
	if _, err := open().stream.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a third stream of two: %v, want ResourceExhausted", err)
	}
}

func TestSubscriptionsOfAStreamAreBounded(t *testing.T) {
	s, publish := serve(t, Config{})
	publish(target(generate, output.In))
	c := openDeltas(t, s)
	name := strings.Repeat("x", 1<<10)
	for i := 0; ; i++ {
		names := make([]string, 1<<10)
		for j := range names {
			names[j] = name + string(rune('a'+i)) + string(rune(j))
		}
		if err := c.stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.EndpointType, ResourceNamesSubscribe: names}); err != nil {
			break // the server has ended it
		}
		if i == 32 { // some are on their way when the server ends it
			t.Fatal("a stream subscribed to 32 MiB of names")
		}
	}
}

// A client that reads nothing must not hold up the others.
func TestAClientThatDoesNotReadHoldsUpNobody(t *testing.T) {
	s, publish := serve(t, Config{})
	servers := make([]output.Server, 5000)
	for i := range servers {
		servers[i] = output.Server{Addr: "10.0." + strconv.Itoa(i/250) + "." + strconv.Itoa(i%250) + ":8000", Scheme: "http", State: output.In}
	}
	many := &output.Target{Name: generate, Servers: servers}
	publish(many)
	idle, reader := openWorld(t, s, "envoy"), openWorld(t, s, "envoy")
	idle.ask(resource.EndpointType, nil, generate)
	reader.ask(resource.EndpointType, nil, generate)
	r := reader.answer()
	for i := range 20 {
		reader.ask(resource.EndpointType, r, generate)
		many = &output.Target{Name: generate, Servers: slices.Clone(many.Servers)}
		many.Servers[i].State = output.Out
		publish(many)
		r = reader.answer() // fails by itself when patience is over
	}
}

func TestRejectionsAreCounted(t *testing.T) {
	s, publish := serve(t, Config{})
	publish(target(generate, output.In))
	w := openWorld(t, s, "envoy")
	w.ask(resource.EndpointType, nil, generate)
	r := w.answer()
	err := w.stream.Send(&discoveryv3.DiscoveryRequest{
		TypeUrl: resource.EndpointType, ResourceNames: []string{generate}, ResponseNonce: r.GetNonce(),
		ErrorDetail: &rpcstatus.Status{Message: "malformed\nIP"},
	})
	if err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return testutil.ToFloat64(s.metrics.rejections) == 1 })
}

func TestVanishedTargetsAreForgotten(t *testing.T) {
	c := newCaches("p.")
	now := time.Now()
	publish := func(at time.Time, targets ...*output.Target) {
		t.Helper()
		if _, err := c.publish(targets, at); err != nil {
			t.Fatal(err)
		}
	}
	stays, leaves := target(generate, output.In), target("model/tiny", output.In)
	seen := c.clients[forEnvoy]
	publish(now, stays, leaves)
	publish(now.Add(time.Second), stays)
	if n := seen.assignments.NumResources(); n != 2 {
		t.Errorf("%d assignments, want 2: who watches the one that is gone must be told", n)
	}
	if n := seen.clusters.NumResources(); n != 1 {
		t.Errorf("%d clusters, want 1", n)
	}
	publish(now.Add(time.Minute), stays, leaves) // it came back
	publish(now.Add(keepVanished+time.Minute), stays, leaves)
	if n := seen.assignments.NumResources(); n != 2 {
		t.Errorf("%d assignments, want 2: one that came back is forgotten", n)
	}
	publish(now.Add(2*keepVanished), stays)
	publish(now.Add(4*keepVanished), stays)
	if got := slices.Sorted(maps.Keys(seen.assignments.GetResources())); !slices.Equal(got, []string{generate}) {
		t.Errorf("assignments of %v, want %s alone", got, generate)
	}
}

// What Dynamo's request plane speaks is nothing for proxies.
func TestTargetsWithoutHTTPAreLeftOut(t *testing.T) {
	s, publish := serve(t, Config{})
	plane := &output.Target{Name: "dyn://n.c.generate", Servers: []output.Server{{Addr: "10.0.0.1:9000", Scheme: "tcp", State: output.In}}}
	publish(plane, target(generate, output.In))
	w := openWorld(t, s, "envoy")
	w.ask(resource.ClusterType, nil)
	if r := w.answer(); len(r.GetResources()) != 1 {
		t.Errorf("clusters %v, want %s alone", r.GetResources(), generate)
	}
}
