package frontend

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/gossip"
)

// scraped returns what a scrape says of a view, without the names' beginning.
func scraped(t *testing.T, v *view, instances bool) []string {
	t.Helper()
	var lines []string
	collectFleet(v, instances, func(d *prometheus.Desc, n int, labels ...string) {
		_, name, _ := strings.Cut(d.String(), `fqName: "dynmesh_frontend_`)
		name, _, _ = strings.Cut(name, `"`)
		line := fmt.Sprintf("%s%v%d", name, labels, n)
		if slices.Contains(lines, line) {
			t.Errorf("%s is told twice", line)
		}
		lines = append(lines, line)
	})
	return lines
}

func TestFleetMetrics(t *testing.T) {
	expecting(t, "dyn://d.b.g>=4,dyn://d.b.g>=4,dyn://*.*.*>=2,dyn://d.p.g>=2", false, func(r *rig) {
		r.sample()
		lines := scraped(t, r.r.page.Load().view, false)
		for _, want := range []string{
			"ready[]0", "ghost_instances[]1",
			"endpoint_verdict_instances[dyn://d.b.g ready]1", "endpoint_verdict_instances[dyn://d.b.g notready]1",
			"endpoint_verdict_instances[dyn://d.b.g unreachable]1", "endpoint_verdict_instances[dyn://d.b.g draining]1",
			"endpoint_verified_instances[dyn://d.b.g]0", "endpoint_unregistered_instances[dyn://d.b.g]0",
			"endpoint_unregistered_instances[dyn://d.b.other]1", "endpoint_expected_instances[dyn://d.b.g]4",
			"endpoint_expected_instances[dyn://d.p.g]2", "endpoint_verdict_instances[dyn://d.p.g ready]0",
			"expectation_met[dyn://d.b.g>=4]0", "expectation_instances[dyn://d.b.g>=4]1", "expectation_wanted_instances[dyn://d.b.g>=4]4",
			"expectation_met[dyn://*.*.*>=2]1",
		} {
			if !slices.Contains(lines, want) {
				t.Errorf("no %s in\n%s", want, strings.Join(lines, "\n"))
			}
		}
		if n := len(r.seen().Warnings); !slices.Contains(lines, fmt.Sprintf("warnings[]%d", n)) || n == 0 {
			t.Errorf("want %d warnings, more than none, in\n%s", n, strings.Join(lines, "\n"))
		}
		if strings.Contains(strings.Join(lines, "\n"), "instance_verdict") {
			t.Error("instances are told of though nobody asked")
		}
		if all := scraped(t, r.r.page.Load().view, true); !slices.Contains(all, "instance_verdict[dyn://d.b.g a unreachable]1") {
			t.Errorf("got\n%s", strings.Join(all, "\n"))
		}
	})
}

// Whatever stands in etcd, no series is told twice, and there are not more than a database likes.
func TestFleetMetricsOfForeignNames(t *testing.T) {
	meshed(t, true, func(r *rig) {
		r.send(synced(httpInstance(key("a.b", "c", "d", 1)), httpInstance(key("a", "b.c", "d", 1))))
		lines := scraped(t, r.r.page.Load().view, true)
		for _, want := range []string{"endpoint_verdict_instances[dyn://a.b.c.d ready]2", "instance_verdict[dyn://a.b.c.d 1 ready]1"} {
			if !slices.Contains(lines, want) {
				t.Errorf("no %s in %q", want, lines)
			}
		}
		u := synced()
		for n := range maxEndpointSeries + 50 {
			u.Puts = append(u.Puts, httpInstance(key("z", fmt.Sprintf("b%05d", n), "g", 1)))
		}
		r.send(u)
		lines = scraped(t, r.r.page.Load().view, false)
		if !slices.Contains(lines, "endpoint_verdict_instances[other ready]51") || len(lines) > 8*maxEndpointSeries {
			t.Errorf("got %d lines, the last %q", len(lines), lines[len(lines)-10:])
		}
	})
}

// Prometheus' own linter has nothing to say of a whole frontend's metrics: watcher, gossip and all.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: it comes with Debian's package prometheus")
	}
	pool, err := gossip.NewPool(gossip.Config{ID: 1, Role: dynmesh.RoleFrontend, Bind: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := Config{Pool: pool, InstanceMetrics: true, GRPCHealthAddr: "127.0.0.1:0", Expect: []expect.Expectation{{Endpoint: "dyn://d.*.g", Want: 1, Verified: true}}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := discovery.NewWatcher(discovery.WatcherConfig{Etcd: discovery.Config{Endpoints: []string{"http://127.0.0.1:1"}}, Members: true})
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, cfg, defaultLimits, watcher)
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
