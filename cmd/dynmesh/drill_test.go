package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/frontend/drill"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/logging"
)

// A phantom gets what the drill's command line says, by variables; secrets, too.
func TestPhantomsEnvironment(t *testing.T) {
	var opts phantomOptions
	flags := pflag.NewFlagSet("drill", pflag.ContinueOnError)
	opts.register(flags)
	err := flags.Parse([]string{
		"--etcd-endpoints", "http://a:1,http://b:2", "--etcd-password", "hunter2", "--canary-wait-time", "1.5", "--etcd-lease-ttl=5", "--gossip-join", "a:1,b:2",
		"--probe-networks", "10.0.0.0/8",
	})
	if err != nil {
		t.Fatal(err)
	}
	env := environmentOf(flags)
	slices.Sort(env)
	want := "DYN_CANARY_WAIT_TIME=1.5s\nDYN_GOSSIP_JOIN=a:1,b:2\nDYN_PROBE_NETWORKS=10.0.0.0/8\nETCD_AUTH_PASSWORD=hunter2\n" +
		"ETCD_ENDPOINTS=http://a:1,http://b:2\nETCD_LEASE_TTL=5s"
	if got := strings.Join(env, "\n"); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	var read phantomOptions
	again := pflag.NewFlagSet("phantom", pflag.ContinueOnError)
	read.register(again)
	if err := readEnvironment(again); err != nil {
		t.Fatal(err)
	}
	if read.check.Wait != opts.check.Wait || read.check.Timeout != opts.check.Timeout || read.ttl != opts.ttl || read.etcd.Password != "hunter2" || !slices.Equal(read.etcd.Endpoints, opts.etcd.Endpoints) {
		t.Errorf("got %+v, want %+v", read, opts)
	}
}

// Phantoms that are there at the same time have ports of their own, where they have any free ones
// not anyway.
func TestPhantomsPorts(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"", ""},
		{"--gossip-bind off --gossip-advertise fd00::1", ""},
		{"--rpc-port 8888 --gossip-bind 0.0.0.0:7946 --gossip-advertise 10.0.0.1", "DYN_HTTP_RPC_PORT=8890 DYN_GOSSIP_BIND=0.0.0.0:7948"},
		{"--gossip-bind :7946", "DYN_GOSSIP_BIND=:7948"},
		{"--gossip-bind [::]:7946 --gossip-advertise [fd00::1]:9000", "DYN_GOSSIP_BIND=[::]:7948 DYN_GOSSIP_ADVERTISE=[fd00::1]:9002"},
	} {
		var opts phantomOptions
		flags := pflag.NewFlagSet("drill", pflag.ContinueOnError)
		opts.register(flags)
		if err := flags.Parse(strings.Fields(tt.args)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(opts.ports(2), " "); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.args, got, tt.want)
		}
	}
}

// Where the ports of three phantoms would go past the last there is, that is said of the setting
// before anything is started.
func TestPhantomsPortsPastTheLast(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"--rpc-port 65533 --gossip-bind 0.0.0.0:65533", ""},
		{"--rpc-port 65534", "DYN_HTTP_RPC_PORT=65534: want a port up to 65533, or 0 for free ones: 3 phantoms are there at the same time"},
		{"--gossip-bind 127.0.0.1:7946 --gossip-advertise 10.0.0.1:65535", "DYN_GOSSIP_ADVERTISE=10.0.0.1:65535: want a port up to 65533"},
	} {
		var opts phantomOptions
		flags := pflag.NewFlagSet("drill", pflag.ContinueOnError)
		opts.register(flags)
		if err := flags.Parse(strings.Fields(tt.args)); err != nil {
			t.Fatal(err)
		}
		if err := opts.validate(1); err != nil {
			t.Errorf("%s: got %v of one phantom", tt.args, err)
		}
		if err := opts.validate(3); (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.args, err, tt.want)
		}
	}
}

func TestDrillMetrics(t *testing.T) {
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte("a-token-of-16-bytes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	who, err := access.New(access.Config{TokenFile: tokens}, logging.OrDiscard(nil))
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(drill.NewMetrics([]drill.Kind{drill.Frozen}))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serveDrill(ctx, ln, who, registry) }()
	for _, tt := range []struct {
		path, host, token string
		code              int
		words             string
	}{
		{"/metrics", "", "", 401, "DYN_API_TOKEN_FILE"},
		{"/metrics", "", "a-token-of-16-bytes", 200, "# TYPE dynmesh_detection_failed_total counter\ndynmesh_detection_failed_total{kind=\"frozen\"} 0\n"},
		{"/metrics", "evil.example.com", "a-token-of-16-bytes", 403, "evil.example.com"},
		{"/live", "", "", 200, `"status":"live"`},
		{"/", "", "a-token-of-16-bytes", 404, ""},
	} {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ln.Addr().String()+tt.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = tt.host
		if tt.token != "" {
			r.Header.Set("Authorization", "Bearer "+tt.token)
		}
		a, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(a.Body)
		_ = a.Body.Close()
		if err != nil || a.StatusCode != tt.code || !strings.Contains(string(body), tt.words) {
			t.Errorf("%s: got %d, %s, %v, want %d and %q", tt.path, a.StatusCode, body, err, tt.code, tt.words)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}
