package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// command runs one command line until the test ends, or until stop is called, and returns what it
// logs.
func command(t *testing.T, args ...string) (log *testkit.Buffer, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	log = &testkit.Buffer{}
	go func() { done <- execute(ctx, args, log, log) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case code := <-done:
			if code != exitOK {
				t.Errorf("%v: exit %d, want %d:\n%s", args, code, exitOK, log)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("%v: still running 30 s after its end", args)
		}
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%v:\n%s", args, log)
		}
	})
	return log, stop
}

func startRegistry(t *testing.T) etcd.Config {
	t.Helper()
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return etcd.Config{Endpoints: []string{server.Endpoint()}}
}

func TestGossipSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keyring")
	if err := os.WriteFile(file, []byte("# two\n"+gossip.GenerateKey()+"\n\n"+gossip.GenerateKey()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		opts gossipOptions
		none bool
		key  dynmesh.KeySource
	}{
		{name: "nothing said", opts: gossipOptions{bind: "0.0.0.0:0", label: "dynmesh"}},
		{name: "off", opts: gossipOptions{bind: "off"}, none: true},
		{name: "off, whatever the key", opts: gossipOptions{bind: "off", key: "junk"}, none: true},
		{name: "key", opts: gossipOptions{bind: ":0", key: gossip.GenerateKey()}, key: dynmesh.KeyOfOwn},
		{name: "no key", opts: gossipOptions{bind: ":0", key: "none"}, key: dynmesh.KeyNone},
		{name: "keyring", opts: gossipOptions{bind: ":0", keyring: file}, key: dynmesh.KeyOfOwn},
	} {
		cfg, err := tt.opts.config()
		if err != nil || (cfg == nil) != tt.none || cfg != nil && (cfg.Keyring == nil) != (tt.key == "") || tt.key != "" && cfg.Keyring.Source() != tt.key {
			t.Errorf("%s: %+v, %v", tt.name, cfg, err)
		}
	}
	for value, ok := range map[string]bool{
		"0.0.0.0:7946": true, ":7946": true, "[::]:0": true, "off": true, "eth0.example:7946": true,
		"7946": false, "0.0.0.0": false, "0.0.0.0:x": false, "0.0.0.0:65536": false, "on": false, "0.0.0.0:": false,
	} {
		if err := gossipBind(value); (err == nil) != ok {
			t.Errorf("DYN_GOSSIP_BIND=%q: %v", value, err)
		}
	}
	for value, ok := range map[string]bool{
		"10.1.2.3": true, "10.1.2.3:7946": true, "worker.example": true, "worker.example:1": true, "fd00::1": true, "[fd00::1]:7946": true,
		"0.0.0.0": false, "0.0.0.0:7946": false, ":7946": false, "10.1.2.3:0": false, "10.1.2.3:x": false, "http://h:1": false,
	} {
		if err := gossipAdvertise(value); (err == nil) != ok {
			t.Errorf("DYN_GOSSIP_ADVERTISE=%q: %v", value, err)
		}
	}
}

func TestBadGossipSettingsStopWithOneLine(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("# nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"worker", "frontend"} {
		for _, tt := range []struct {
			name string
			env  map[string]string
			want string
		}{
			{"bind", map[string]string{"DYN_GOSSIP_BIND": "7946"}, `dynmesh: DYN_GOSSIP_BIND="7946": want host:port, such as 0.0.0.0:7946 (port 0: a free one), or off`},
			{"nobody's address", map[string]string{"DYN_GOSSIP_BIND": "203.0.113.1:0"}, `dynmesh: DYN_GOSSIP_BIND: `},
			{"advertise", map[string]string{"DYN_GOSSIP_ADVERTISE": "0.0.0.0:7946"}, `dynmesh: DYN_GOSSIP_ADVERTISE="0.0.0.0:7946": advertised host "0.0.0.0": others cannot reach`},
			{"join", map[string]string{"DYN_GOSSIP_JOIN": "a:1,b"}, `dynmesh: DYN_GOSSIP_JOIN="a:1,b": "b": want host:port of a member`},
			{"label", map[string]string{"DYN_GOSSIP_LABEL": strings.Repeat("x", 65)}, `: want 1 to 64 bytes`},
			{"key", map[string]string{"DYN_GOSSIP_KEY": "c2VjcmV0"}, `dynmesh: DYN_GOSSIP_KEY: key 1 has 6 bytes: want 16, 24 or 32`},
			{"key that is none", map[string]string{"DYN_GOSSIP_KEY": "s3cret!"}, `dynmesh: DYN_GOSSIP_KEY: key 1 is not base64: want 16, 24 or 32 bytes in base64, as dynmesh keygen prints them, or none`},
			{"no key for all", map[string]string{"DYN_GOSSIP_JOIN": "127.0.0.1:1", "DYN_DISCOVERY_BACKEND": "static", "DYN_STATIC_ENDPOINTS": empty, "ONLY": "frontend"}, `dynmesh: DYN_GOSSIP_KEY: want a key that all members have (dynmesh keygen), or none, in the clear`},
			{"both", map[string]string{"DYN_GOSSIP_KEY": gossip.GenerateKey(), "DYN_GOSSIP_KEYRING_FILE": empty}, `dynmesh: DYN_GOSSIP_KEY and DYN_GOSSIP_KEYRING_FILE: both are set, want one of them`},
			{"no file", map[string]string{"DYN_GOSSIP_KEYRING_FILE": "/none"}, `dynmesh: DYN_GOSSIP_KEYRING_FILE: read keyring: open /none: no such file`},
			{"empty file", map[string]string{"DYN_GOSSIP_KEYRING_FILE": empty}, `no key in it`},
		} {
			if only := tt.env["ONLY"]; only != "" && only != command {
				continue
			}
			t.Run(command+" "+tt.name, func(t *testing.T) {
				t.Setenv("DYN_HTTP_PORT", "0")
				t.Setenv("DYN_SYSTEM_PORT", "0")
				t.Setenv("DYN_HTTP_RPC_PORT", "0")
				for k, v := range tt.env {
					t.Setenv(k, v)
				}
				var stdout, stderr bytes.Buffer
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				code := execute(ctx, []string{command, "--log", "error"}, &stdout, &stderr)
				line := stderr.String()
				if code != exitUsage || !strings.Contains(line, tt.want) || strings.Count(line, "\n") != 1 || stdout.Len() > 0 {
					t.Errorf("exit %d, %q, %q, want %d and one line with %q", code, stdout.String(), line, exitUsage, tt.want)
				}
				for _, secret := range []string{"c2VjcmV0", "s3cret"} {
					if strings.Contains(line, secret) {
						t.Errorf("%q shows the key", line)
					}
				}
			})
		}
	}
}

func TestKeygen(t *testing.T) {
	keys := make(map[string]bool)
	for range 2 {
		var stdout, stderr bytes.Buffer
		if code := execute(context.Background(), []string{"keygen"}, &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
			t.Fatalf("exit %d, %q", code, stderr.String())
		}
		line, ok := strings.CutSuffix(stdout.String(), "\n")
		key, err := base64.StdEncoding.DecodeString(line)
		if !ok || err != nil || len(key) != 32 {
			t.Errorf("%q, %v: want one line with 32 bytes in base64", stdout.String(), err)
		}
		if _, err := (gossipOptions{bind: ":0", key: line}).config(); err != nil {
			t.Errorf("DYN_GOSSIP_KEY does not take it: %v", err)
		}
		keys[line] = true
	}
	if len(keys) != 2 {
		t.Error("two keys are the same")
	}
}

// SIGHUP has the keyring read again; a file that cannot be used changes nothing and ends nothing.
func TestKeyringIsReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keyring")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(gossip.GenerateKey())
	opts := gossipOptions{bind: "127.0.0.1:0", keyring: file}
	cfg, err := opts.config()
	if err != nil {
		t.Fatal(err)
	}
	var out testkit.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	runs := opts.reloadOnHangup(cfg, log)
	if len(runs) != 1 {
		t.Fatalf("%d functions to run, want 1", len(runs))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- runs[0].run(ctx) }()
	hangUp := func(line string) {
		t.Helper()
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if err := self.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, 10*time.Second, line, func() bool { return strings.Contains(out.String(), line) })
	}
	write(gossip.GenerateKey())
	hangUp("Keyring read again")
	write("junk!")
	hangUp("key 1 is not base64")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, none := range []gossipOptions{{bind: "off", keyring: file}, {bind: ":0", key: gossip.GenerateKey()}} {
		cfg, err := none.config()
		if err != nil {
			t.Fatal(err)
		}
		if runs := none.reloadOnHangup(cfg, log); len(runs) != 0 {
			t.Errorf("%+v listens for signals", none)
		}
	}
}

// Frontends find each other through etcd, each under its own lease, and a worker finds them.
func TestFrontendIsAMember(t *testing.T) {
	registry := startRegistry(t)
	front := []string{"frontend", "--http-host", "127.0.0.1", "--http-port", "0", "--etcd-endpoints", registry.Endpoints[0]}
	command(t, front...)
	_, stopSecond := command(t, front...)
	command(t, "worker", "--system-port", "0", "--rpc-port", "0", "--etcd-endpoints", registry.Endpoints[0])
	testkit.Eventually(t, 20*time.Second, "all are registered", func() bool { return len(sample(t, registry)) == 3 })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	roles := map[dynmesh.Role]int{}
	for _, m := range sample(t, registry) {
		roles[m.Role]++
		if m.GossipAddr == "" || m.PID != os.Getpid() || m.Version == "" || m.Host == "" || m.StartedAt.IsZero() {
			t.Errorf("a member says of itself %+v", m)
		}
		testkit.Eventually(t, 20*time.Second, "the "+string(m.Role)+" has found all others", func() bool {
			metrics, err := fetch(client, m.SystemURL+"/metrics", "")
			if err != nil {
				t.Fatal(err)
			}
			return strings.Contains(metrics, `dynmesh_gossip_members{state="alive"} 3`)
		})
	}
	if roles[dynmesh.RoleFrontend] != 2 || roles[dynmesh.RoleWorker] != 1 {
		t.Errorf("roles are %v, want two frontends and a worker", roles)
	}
	stopSecond()
	if members := sample(t, registry); len(members) != 2 {
		t.Errorf("etcd has %+v, want nothing of the frontend that has ended", members)
	}
}

func sample(t *testing.T, registry etcd.Config) []dynmesh.RegisteredMember {
	t.Helper()
	members, err := etcd.SampleMembers(t.Context(), registry, 100)
	if err != nil {
		t.Fatal(err)
	}
	return members
}

// Without gossip a frontend only reads, and a worker says only what it did before.
func TestGossipOff(t *testing.T) {
	registry := startRegistry(t)
	t.Setenv("DYN_GOSSIP_BIND", "off")
	front, _ := command(t, "frontend", "--http-host", "127.0.0.1", "--http-port", "0", "--etcd-endpoints", registry.Endpoints[0])
	worker, _ := command(t, "worker", "--system-port", "0", "--rpc-port", "0", "--etcd-endpoints", registry.Endpoints[0])
	testkit.Eventually(t, 20*time.Second, "the worker is registered", func() bool { return strings.Contains(worker.String(), "Registered ") })
	testkit.Eventually(t, 20*time.Second, "the frontend has read the registry", func() bool { return strings.Contains(front.String(), "Discovery is synced") })
	if members := sample(t, registry); len(members) != 1 || members[0].Role != dynmesh.RoleWorker || members[0].GossipAddr != "" {
		t.Errorf("etcd has %+v, want the worker alone, without an address for gossip", members)
	}
	for _, log := range []*testkit.Buffer{front, worker} {
		if strings.Contains(log.String(), "::gossip") {
			t.Errorf("gossip is off, and logs:\n%s", log)
		}
	}
}

// A frontend whose etcd user may only read says so once, and is a member all the same.
func TestFrontendThatMayOnlyRead(t *testing.T) {
	registry := startRegistry(t)
	client, err := clientv3.New(clientv3.Config{Endpoints: registry.Endpoints, DialTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	for _, name := range []string{"root", "reader"} {
		must(client.RoleAdd(ctx, name))
		must(client.UserAdd(ctx, name, "secret"))
		must(client.UserGrantRole(ctx, name, name))
	}
	must(client.RoleGrantPermission(ctx, "reader", "v1/", clientv3.GetPrefixRangeEnd("v1/"), clientv3.PermissionType(clientv3.PermRead)))
	must(client.AuthEnable(ctx))

	t.Setenv("ETCD_AUTH_PASSWORD", "secret")
	worker, _ := command(t, "worker", "--system-port", "0", "--rpc-port", "0", "--etcd-endpoints", registry.Endpoints[0], "--etcd-username", "root")
	testkit.Eventually(t, 30*time.Second, "the worker is registered", func() bool { return strings.Contains(worker.String(), "Registered ") })
	front, _ := command(t, "frontend", "--http-host", "127.0.0.1", "--http-port", "0", "--gossip-bind", "127.0.0.1:0",
		"--etcd-endpoints", registry.Endpoints[0], "--etcd-username", "reader")
	for _, line := range []string{"Discovery is synced: the registry has been read instances=1", "Joined the mesh", "This process cannot be registered"} {
		testkit.Eventually(t, 30*time.Second, line, func() bool { return strings.Contains(front.String(), line) })
	}
	if n := strings.Count(front.String(), " WARN "); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, front)
	}
}
