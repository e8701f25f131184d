package frontend

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/gossip"
)

// Prometheus' own linter has nothing to say of a whole frontend's metrics: watcher, gossip and all.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: it comes with Debian's package prometheus")
	}
	pool, err := gossip.NewPool(gossip.Config{Role: dynmesh.RoleFrontend, Bind: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := Config{Pool: pool, InstanceMetrics: true, GRPCHealthAddr: "127.0.0.1:0", Expect: []expect.Expectation{{Endpoint: "dyn://d.*.g", Want: 1, Verified: true}}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := etcd.NewWatcher(etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{"http://127.0.0.1:1"}}, Members: true})
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, cfg, watcher)
	got := f.get("/metrics")
	for _, name := range []string{"dynmesh_frontend_ready 0", "dynmesh_registry_state{", "dynmesh_gossip_members{", "dynmesh_frontend_event_streams 0", "dynmesh_frontend_grpc_watches 0"} {
		if !strings.Contains(got.body, "\n"+name) {
			t.Errorf("no %s", name)
		}
	}
	lint := exec.Command(promtool, "check", "metrics")
	lint.Stdin = strings.NewReader(got.body)
	if out, err := lint.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
