package worker

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func from(env map[string]string) func(string) string {
	return func(name string) string { return env[name] }
}

// TestServeMeansWhatTheCommandMeans: one endpoint is registered, gossips, is verified, and goes
// when the context ends.
func TestServeMeansWhatTheCommandMeans(t *testing.T) {
	etcd, seen := startEtcd(t)
	t.Setenv("ETCD_ENDPOINTS", etcd.Endpoints[0])
	t.Setenv("DYN_NAMESPACE", "prod")
	t.Setenv("DYN_COMPONENT", "decode") // the option wins
	for _, name := range []string{"DYN_SYSTEM_HOST", "DYN_HTTP_RPC_BIND"} {
		t.Setenv(name, "127.0.0.1")
	}
	for _, name := range []string{"DYN_SYSTEM_PORT", "DYN_HTTP_RPC_PORT"} {
		t.Setenv(name, "0")
	}
	t.Setenv("DYN_GOSSIP_BIND", "127.0.0.1:0")
	t.Setenv("DYN_GOSSIP_KEY", "none")
	o := startOnlooker(t, etcd)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started, done := make(chan *Worker, 1), make(chan error, 1)
	go func() {
		done <- Serve(ctx, "generate", echo, Component("prefill"), Canary(map[string]any{"prompt": []int{1}}),
			Endpoint("embed", echo), OnStart(func(w *Worker) { started <- w }))
	}()
	var w *Worker
	select {
	case w = <-started:
	case err := <-done:
		t.Fatal(err)
	}
	testkit.Eventually(t, waitLimit, "both endpoints are registered", func() bool {
		return slices.Equal(slices.Sorted(maps.Keys(seen.transports())), []string{
			"dyn://prod.prefill.embed " + w.ID().String(), "dyn://prod.prefill.generate " + w.ID().String(),
		})
	})
	testkit.Eventually(t, waitLimit, "the canary has passed, and the mesh knows it", func() bool { return o.says(w, "generate", dynmesh.Pass, true) })
	testkit.Eventually(t, waitLimit, "the other endpoint is ready", func() bool { return o.says(w, "embed", dynmesh.Unchecked, true) })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, waitLimit, "it is gone", func() bool { return len(seen.transports()) == 0 })
	testkit.Eventually(t, waitLimit, "it has left the mesh", func() bool { return o.state(w) == dynmesh.Left })
}

func TestServeRefuses(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("DYN_GOSSIP_BIND", "off")
	local := With(func(c *Config) { c.System.Port, c.RPC.Port, c.RPC.Host, c.System.Host = 0, 0, "127.0.0.1", "127.0.0.1" })
	for _, tt := range []struct {
		name    string
		handler Handler
		option  Option
		want    string
	}{
		{"a.b", echo, local, `serve endpoint "a.b": handle endpoint "a.b": register dyn://dynamo.backend.a.b: endpoint name "a.b" has the character `},
		{"generate", nil, local, `serve endpoint "generate": handle endpoint "generate": the handler is nil`},
		{"generate", echo, Endpoint("generate", echo), `handle endpoint "generate": it has a handler already`},
		{"generate", echo, Namespace("a b"), `serve endpoint "generate": new worker: namespace name "a b" has the character ' '`},
		{"generate", echo, Canary(func() {}), `handle endpoint "generate": canary: json: unsupported type: func()`},
		{"generate", echo, Etcd("ftp://x"), `field Endpoints`},
	} {
		if err := Serve(ctx, tt.name, tt.handler, local, tt.option); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
	if err := Serve(ctx, "generate", echo, local); err != nil {
		t.Errorf("with a context that has ended: %v", err)
	}
}

func TestFromEnvironment(t *testing.T) {
	got, err := FromEnvironment(from(nil))
	if err != nil || got.RPC.Port != 8888 || got.System.Port != 8081 || got.Gossip == nil || got.Canary != nil {
		t.Errorf("nothing set: %+v, %v, want ports 8888 and 8081, gossip and no canaries, as the command has", got, err)
	}
	got, err = FromEnvironment(from(map[string]string{
		"ETCD_ENDPOINTS": "http://a:1, http://b:2", "ETCD_AUTH_USERNAME": "u", "ETCD_AUTH_PASSWORD": "p", "ETCD_AUTH_CA": "ca",
		"ETCD_AUTH_CLIENT_CERT": "cert", "ETCD_AUTH_CLIENT_KEY": "key", "ETCD_LEASE_TTL": "20",
		"DYN_NAMESPACE": "n", "DYN_COMPONENT": "c", "DYN_LABELS": "zone=a",
		"DYN_HTTP_RPC_BIND": "h1", "DYN_HTTP_RPC_PORT": "1", "DYN_HTTP_RPC_HOST": "h2", "POD_IP": "10.0.0.1", "DYN_HTTP_RPC_ROOT_PATH": "/r",
		"DYN_SYSTEM_HOST": "h3", "DYN_SYSTEM_PORT": "2", "DYN_SYSTEM_HEALTH_PATH": "/h", "DYN_SYSTEM_LIVE_PATH": "/l",
		"DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS": `["generate"]`,
		"DYN_GOSSIP_BIND":                       "h4:3", "DYN_GOSSIP_ADVERTISE": "h5", "DYN_GOSSIP_JOIN": "m:4", "DYN_GOSSIP_LABEL": "x",
		"DYN_HEALTH_CHECK_ENABLED": "yes", "DYN_CANARY_WAIT_TIME": "7", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT": "1.5",
		"DYN_CANARY_START_TIMEOUT": "9", "DYN_CANARY_STALL_BUDGET": "60s", "DYN_CANARY_FAILURE_THRESHOLD": "2", "DYN_CANARY_SUCCESS_THRESHOLD": "3",
		"DYN_ADMIN_TOKEN": "t", "DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT": "5",
	}))
	if err != nil {
		t.Fatal(err)
	}
	g, k := got.Gossip, got.Canary
	got.Gossip, got.Canary = nil, nil
	if g == nil || g.Bind != "h4:3" || g.Advertise != "h5" || !slices.Equal(g.Join, []string{"m:4"}) || g.Label != "x" || g.Keyring != nil {
		t.Errorf("gossip: %+v", g)
	}
	if k == nil || k.Wait != 7*time.Second || k.Timeout != 1500*time.Millisecond || k.StartTimeout != 9*time.Second || k.Stall != time.Minute || k.FailureThreshold != 2 || k.SuccessThreshold != 3 {
		t.Errorf("canaries: %+v", k)
	}
	want := Config{
		Namespace: "n", Component: "c", LeaseTTL: 20 * time.Second, Labels: map[string]string{"zone": "a"}, AdminToken: "t",
		Etcd: etcd.Config{
			Endpoints: []string{"http://a:1", "http://b:2"}, Username: "u", Password: "p", CAFile: "ca", CertFile: "cert", KeyFile: "key",
		},
		RPC:                     RPCConfig{Host: "h1", Port: 1, AdvertiseHost: "h2", RootPath: "/r"},
		System:                  SystemConfig{Host: "h3", Port: 2, HealthPath: "/h", LivePath: "/l"},
		UseEndpointHealthStatus: []string{"generate"}, GracefulShutdownTimeout: 5 * time.Second,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, err := FromEnvironment(from(map[string]string{"POD_IP": "10.0.0.1", "KUBERNETES_SERVICE_HOST": "x", "DYN_GOSSIP_BIND": "off"})); err != nil ||
		got.RPC.AdvertiseHost != "10.0.0.1" || got.Canary == nil || got.Gossip != nil {
		t.Errorf("in Kubernetes: %+v, %v", got, err)
	}
}

func TestFromEnvironmentRefuses(t *testing.T) {
	for name, value := range map[string]string{
		"DYN_SYSTEM_PORT": "http", "ETCD_LEASE_TTL": "1", "DYN_LABELS": "zone", "DYN_CANARY_WAIT_TIME": "-1", "ETCD_ENDPOINTS": ",",
		"DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS": "generate", "DYN_HEALTH_CHECK_ENABLED": "maybe", "DYN_CANARY_FAILURE_THRESHOLD": "0",
		"DYN_GOSSIP_KEY": "short", "DYN_GOSSIP_KEYRING_FILE": "/nowhere", "DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT": "soon",
	} {
		env := map[string]string{name: value, "KUBERNETES_SERVICE_HOST": "x"}
		if _, err := FromEnvironment(from(env)); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s=%s: %v, want an error that begins with the name", name, value, err)
		}
	}
	const names = "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS"
	if _, err := FromEnvironment(from(map[string]string{names: "{}"})); err == nil || err.Error() != names+`="{}": want a JSON array of endpoint names, such as ["generate"]` {
		t.Errorf("an object in place of names: %v", err)
	}
	for value, want := range map[string]dynmesh.KeySource{"none": dynmesh.KeyNone, gossip.GenerateKey(): dynmesh.KeyOfOwn} {
		if c, err := FromEnvironment(from(map[string]string{"DYN_GOSSIP_KEY": value})); err != nil || c.Gossip.Keyring.Source() != want {
			t.Errorf("want a keyring that is %s: %+v, %v", want, c.Gossip, err)
		}
	}
	if _, err := FromEnvironment(from(map[string]string{"DYN_GOSSIP_KEY": "x", "DYN_GOSSIP_KEYRING_FILE": "y"})); err == nil {
		t.Error("two kinds of keys are accepted")
	}
}

// TestServeCanaries: a check switches canaries on, an operator off; and the operator's payload is
// the one that is sent.
func TestServeCanaries(t *testing.T) {
	local := With(func(c *Config) {
		*c = Config{RPC: RPCConfig{Host: "127.0.0.1"}, System: SystemConfig{Host: "127.0.0.1"}, Canary: c.Canary}
	})
	for _, tt := range []struct {
		name    string
		env     map[string]string
		options []Option
		want    bool
	}{
		{"no check", nil, nil, false},
		{"a check", nil, []Option{Canary(1)}, true},
		{"one of another endpoint", nil, []Option{Endpoint("embed", echo, Canary(1))}, true},
		{"an operator's payload", map[string]string{"DYN_HEALTH_CHECK_PAYLOAD": "{}"}, nil, true},
		{"switched off", map[string]string{"DYN_HEALTH_CHECK_ENABLED": "false"}, []Option{Canary(1)}, false},
		{"switched on", map[string]string{"DYN_HEALTH_CHECK_ENABLED": "true"}, nil, true},
		{"configured", nil, []Option{With(func(c *Config) { c.Canary = &canary.Config{} })}, true},
	} {
		w, err := newService(from(tt.env), append([]Option{Endpoint("generate", echo), local}, tt.options...))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := w.monitor != nil; got != tt.want {
			t.Errorf("%s: canaries %v, want %v", tt.name, got, tt.want)
		}
		_ = w.Close()
	}
	asked := make(chan string, 1)
	record := func(_ context.Context, request json.RawMessage, send func(any) error) error {
		asked <- string(request)
		return send(1)
	}
	env := from(map[string]string{"DYN_HEALTH_CHECK_PAYLOAD": `{"prompt": "operator"}`})
	w, err := newService(env, []Option{Endpoint("generate", record), local, Canary("program")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	if err := w.endpoints["generate"].check.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	if got := <-asked; got != `{"prompt":"operator"}` {
		t.Errorf("the canary was %s", got)
	}
}
