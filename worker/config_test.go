package worker

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// TestNoStatusServer: Dynamo's DYN_SYSTEM_PORT=-1.
func TestNoStatusServer(t *testing.T) {
	cfg := local()
	cfg.System.Port, cfg.RPC.Host = -1, "[::1]"
	r := run(t, cfg, map[string]Handler{"echo": echo})
	if status, _, err := r.do(http.MethodPost, "http://"+r.RPCAddr()+"/v1/rpc/echo", "{}", nil); status != http.StatusOK || r.SystemAddr() != "" || r.member().SystemURL != "" {
		t.Errorf("got %d (%v), and a status server at %q, told as %q: want 200, and none", status, err, r.SystemAddr(), r.member().SystemURL)
	}
}

func TestNewRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	port := taken.Addr().(*net.TCPAddr).Port
	for _, tt := range []struct {
		want   string
		change func(*Config)
	}{
		{`namespace name "a.b" has the character '.'`, func(c *Config) { c.Namespace = "a.b" }},
		{`component name "a b" has the character ' '`, func(c *Config) { c.Component = "a b" }},
		{`component name has 256 characters`, func(c *Config) { c.Component = strings.Repeat("x", 256) }},
		{`UseEndpointHealthStatus: endpoint name "a/b"`, func(c *Config) { c.UseEndpointHealthStatus = []string{"a/b"} }},
		{`UseEndpointHealthStatus: endpoint name is empty`, func(c *Config) { c.UseEndpointHealthStatus = []string{""} }},
		{`StartingStatus: "up": want "ready" or "notready"`, func(c *Config) { c.StartingStatus = "up" }},
		{`GracefulShutdownTimeout is -1s`, func(c *Config) { c.GracefulShutdownTimeout = -time.Second }},
		{`field TTL is 1ms`, func(c *Config) { c.LeaseTTL = time.Millisecond }},
		{`System.Port is -2: want 0 to 65535`, func(c *Config) { c.System.Port = -2 }},
		{`RPC.Port is -1: want 0 to 65535`, func(c *Config) { c.RPC.Port = -1 }},
		{`RPC.Port is 65536: want 0 to 65535`, func(c *Config) { c.RPC.Port = 65536 }},
		{`System: listen tcp 127.0.0.1`, func(c *Config) { c.System.Port = port }},
		{`RPC: listen tcp 127.0.0.1`, func(c *Config) { c.RPC.Port = port }},
		{`System.HealthPath is "health": want a path`, func(c *Config) { c.System.HealthPath = "health" }},
		{`System.LivePath is "/:live": want a path`, func(c *Config) { c.System.LivePath = "/:live" }},
		{`System.HealthPath is "/livez": want another path: that is the liveness route`, func(c *Config) { c.System.HealthPath = "/livez" }},
		{`System.LivePath is "/metrics": want another path: that is the metrics route`, func(c *Config) { c.System.LivePath = "/metrics" }},
		{`RPC.RootPath is "/v1/*": want a path`, func(c *Config) { c.RPC.RootPath = "/v1/*" }},
		{`RPC.AdvertiseHost: advertised host "0.0.0.0"`, func(c *Config) { c.RPC.AdvertiseHost = "0.0.0.0" }},
	} {
		cfg := local()
		tt.change(&cfg)
		w, err := New(cfg)
		if err == nil {
			_ = w.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), "new worker: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got error %v, want one with %s", err, tt.want)
		}
	}
}

func TestHandleRefuses(t *testing.T) {
	w := create(t, local(), map[string]Handler{"generate": echo})
	for _, tt := range []struct {
		name    string
		handler Handler
		want    string
	}{
		{"", echo, `endpoint name is empty`},
		{"a.b", echo, `endpoint name "a.b" has the character '.'`},
		{"größe", echo, `has the character 'ö'`},
		{strings.Repeat("x", 256), echo, `endpoint name has 256 characters`},
		{"generate", echo, `handle endpoint "generate": it has a handler already`},
		{"other", nil, `handle endpoint "other": the handler is nil`},
	} {
		if err := w.Handle(tt.name, tt.handler); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.20q: got error %v, want one with %s", tt.name, err, tt.want)
		}
	}
	if err := w.Handle(strings.Repeat("x", 255), echo); err != nil {
		t.Errorf("the longest name: %v", err)
	}
}

// TestAdvertisedHost: what others are told must be what they can reach.
func TestAdvertisedHost(t *testing.T) {
	for _, tt := range []struct{ listen, advertise, want string }{
		{"127.0.0.1", "", "127.0.0.1"},
		{"::1", "", "::1"},
		{"worker-3", "", "worker-3"},
		{"127.0.0.1", "node-7", "node-7"},
		{"0.0.0.0", "10.1.2.3", "10.1.2.3"},
		{"::", "fd00::1", "fd00::1"},
		{"0.0.0.0", "", "127.0.0.1"}, // the route to etcd of local()
		{"::", "", "127.0.0.1"},
	} {
		cfg := local()
		cfg.RPC.Host, cfg.RPC.AdvertiseHost = tt.listen, tt.advertise
		if got, err := advertisedHost(cfg); err != nil || got != tt.want {
			t.Errorf("listening on %q, advertising %q: got %q (%v), want %q", tt.listen, tt.advertise, got, err, tt.want)
		}
	}
}

func TestDefaults(t *testing.T) {
	got, err := Config{RPC: RPCConfig{RootPath: "/"}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if got.Namespace != "dynamo" || got.Component != "backend" || got.GracefulShutdownTimeout != 30*time.Second ||
		got.StartingStatus != NotReady || got.RPC.RootPath != "" || got.System != (SystemConfig{"0.0.0.0", 0, "/health", "/live"}) {
		t.Errorf("got %+v", got)
	}
}

func TestRootPath(t *testing.T) {
	cfg := local()
	cfg.RPC.RootPath = "/"
	r := run(t, cfg, map[string]Handler{"echo": echo})
	if status, body, err := r.do("POST", "http://"+r.RPCAddr()+"/echo", "1", nil); status != 200 || body != "1\n" || err != nil {
		t.Errorf("got %d %q (%v), want 200 and 1", status, body, err)
	}
}

// Who registers an address of loopback because etcd has one is told, once, who can use it; who has
// chosen it knows.
func TestWarnOfLoopback(t *testing.T) {
	for _, tt := range []struct {
		name, host, chosen, bound string
		want                      int
	}{
		{"it follows from etcd's", "127.0.0.1", "", "0.0.0.0", 1},
		{"of IPv6", "::1", "", "::", 1},
		{"it was chosen", "127.0.0.1", "127.0.0.1", "0.0.0.0", 0},
		{"nothing else can be true", "127.0.0.1", "", "127.0.0.1", 0},
		{"another one", "10.0.0.7", "", "0.0.0.0", 0},
		{"a name", "worker-1", "worker-1", "0.0.0.0", 0},
	} {
		log, lines := testkit.Log()
		warnOfLoopback(Config{RPC: RPCConfig{Host: tt.bound, AdvertiseHost: tt.chosen}}, tt.host, log)
		if got := strings.Count(lines.String(), "only programs on this machine can use this worker"); got != tt.want {
			t.Errorf("%s: said %d times, want %d: %s", tt.name, got, tt.want, lines)
		}
	}
}
