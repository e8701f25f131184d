package api

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func (r *running) prober() (grpc_health_v1.HealthClient, context.Context) {
	r.t.Helper()
	c, err := grpc.NewClient(r.GRPCHealthAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r.t.Cleanup(func() { cancel(); _ = c.Close() })
	return grpc_health_v1.NewHealthClient(c), ctx
}

// probe returns what Check says of a service, in a word.
func probe(ctx context.Context, c grpc_health_v1.HealthClient, service string) string {
	res, err := c.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
	if err != nil {
		return status.Code(err).String()
	}
	return res.GetStatus().String()
}

// startProbed runs a server of a fleet that expects an instance.
func startProbed(t *testing.T, cfg Config) *running {
	t.Helper()
	cfg.GRPCHealthAddr = "127.0.0.1:0"
	return start(t, cfg, []expect.Expectation{{Endpoint: "dyn://d.e.g", Want: 1}}, nil)
}

func TestGRPCHealthCheck(t *testing.T) {
	t.Parallel()
	f := startProbed(t, Config{})
	c, ctx := f.prober()
	want := func(all map[string]string) {
		t.Helper()
		for service, want := range all {
			if got := probe(ctx, c, service); got != want {
				t.Errorf("%q: got %s, want %s", service, got, want)
			}
		}
	}
	want(map[string]string{"": "SERVING", "dyn://d.b.g": "UNKNOWN", "nonsense": "UNKNOWN"})
	k := testkit.Key("d", "b", "g", 1)
	f.discover(testkit.Synced(testkit.HTTPInstance(k)))
	eventually(t, "SERVING", func() bool { return probe(ctx, c, "dyn://d.b.g") == "SERVING" })
	want(map[string]string{"": "SERVING", "d.b.g": "SERVING", "dyn://d.e.g": "NOT_SERVING", "dyn://d.b": "NotFound", "d.b.h": "NotFound"})
	if got := probe(ctx, c, strings.Repeat("x", 1<<20)); got != "ResourceExhausted" {
		t.Errorf("a name of a megabyte: got %s", got)
	}
	f.discover(dynmesh.RegistryUpdate{State: dynmesh.Synced, Deletes: []dynmesh.InstanceKey{k}})
	eventually(t, "that it is gone", func() bool { return probe(ctx, c, "dyn://d.b.g") == "NotFound" })
}

func TestGRPCHealthWatch(t *testing.T) {
	t.Parallel()
	f := startProbed(t, Config{MaxStreams: 2})
	c, ctx := f.prober()
	watch := func(service string) grpc.ServerStreamingClient[grpc_health_v1.HealthCheckResponse] {
		w, err := c.Watch(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	next := func(w grpc.ServerStreamingClient[grpc_health_v1.HealthCheckResponse], want string) {
		t.Helper()
		res, err := w.Recv()
		got := status.Code(err).String()
		if err == nil {
			got = res.GetStatus().String()
		}
		if got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	endpoint, itself := watch("d.b.g"), watch("")
	next(endpoint, "UNKNOWN")
	next(itself, "SERVING")
	next(watch("d.b.g"), "ResourceExhausted")
	k := testkit.Key("d", "b", "g", 1)
	f.discover(testkit.Synced())
	next(endpoint, "SERVICE_UNKNOWN")
	f.discover(testkit.Synced(testkit.HTTPInstance(testkit.Key("d", "b", "other", 1)), testkit.HTTPInstance(k)))
	next(endpoint, "SERVING")
	f.discover(dynmesh.RegistryUpdate{State: dynmesh.Synced, Deletes: []dynmesh.InstanceKey{k}})
	next(endpoint, "SERVICE_UNKNOWN")
	if n := f.grpcHealth.watches.Load(); n != 2 {
		t.Errorf("counted %d watchers, want 2", n)
	}
	f.stop()
	next(endpoint, "NOT_SERVING")
	next(endpoint, "Unavailable")
	next(itself, "NOT_SERVING")
	next(itself, "Unavailable")
	if err := <-f.done; err != nil {
		t.Error(err)
	}
}

// While a frontend lingers, it says that it is about to go.
func TestGRPCHealthAtShutdown(t *testing.T) {
	t.Parallel()
	f := startProbed(t, Config{GracefulShutdownTimeout: patience})
	c, ctx := f.prober()
	if got := probe(ctx, c, ""); got != "SERVING" {
		t.Errorf("got %s", got)
	}
	f.stop()
	eventually(t, "NOT_SERVING", func() bool { return probe(ctx, c, "") == "NOT_SERVING" })
	w, err := c.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err == nil {
		_, err = w.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a watch: got %v, want Unavailable", err)
	}
}

// What is asked over gRPC is shown to whom it is shown over HTTP.
func TestGRPCHealthAccess(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	var cfg Config
	cfg.Access.CertFile, cfg.Access.KeyFile = testkit.Certificate(t, folder, "server")
	const token = "a-token-of-enough-bytes"
	cfg.Access.TokenFile, cfg.Access.TokenForHealth = filepath.Join(folder, "tokens"), true
	if err := os.WriteFile(cfg.Access.TokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	f := startProbed(t, cfg)
	c, ctx := f.prober()
	if got := probe(ctx, c, ""); got != "Unavailable" {
		t.Errorf("in plain: got %s, want Unavailable", got)
	}
	tls, err := access.Client{CAFile: cfg.Access.CertFile}.TLS()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(f.GRPCHealthAddr(), grpc.WithTransportCredentials(credentials.NewTLS(tls)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	c = grpc_health_v1.NewHealthClient(conn)
	if got := probe(ctx, c, ""); got != "Unauthenticated" {
		t.Errorf("without a token: got %s, want Unauthenticated", got)
	}
	if got := probe(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), c, ""); got != "SERVING" {
		t.Errorf("with a token: got %s, want SERVING", got)
	}
}

// A watcher that goes away makes room for another.
func TestGRPCHealthWatcherLeaves(t *testing.T) {
	t.Parallel()
	f := startProbed(t, Config{MaxStreams: 1})
	c, ctx := f.prober()
	for range 3 {
		watching, leave := context.WithCancel(ctx)
		w, err := c.Watch(watching, &grpc_health_v1.HealthCheckRequest{})
		if err == nil {
			_, err = w.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
		leave()
		eventually(t, "that it is noticed", func() bool { return f.broadcaster.Subscribers() == 0 && f.grpcHealth.watches.Load() == 0 })
	}
}
