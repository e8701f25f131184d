package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/cause"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// scraped returns what a scrape says of a Mesh, without the names' beginning.
func scraped(t *testing.T, m *snapshot.Mesh, instances bool) []string {
	t.Helper()
	var lines []string
	collectFleet(m, instances, func(d *prometheus.Desc, n int, labels ...string) {
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

// sample is a mesh in which every verdict occurs.
func sample(t *testing.T) *known {
	t.Helper()
	all, err := expect.Parse("dyn://d.b.g>=4,dyn://d.b.g>=4,dyn://*.*.*>=2,dyn://d.p.g>=2")
	if err != nil {
		t.Fatal(err)
	}
	k := newKnown(true, all)
	keys := []dynmesh.InstanceKey{testkit.Key("d", "b", "g", 0xa), testkit.Key("d", "b", "g", 0xb), testkit.Key("d", "b", "g", 0xc), testkit.Key("d", "b", "g", 0xd)}
	g := dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 5, UDPDegraded: 1}}
	u := testkit.Synced()
	for _, key := range keys {
		u.Puts = append(u.Puts, testkit.HTTPInstance(key))
		g.Members = append(g.Members, dynmesh.Member{Observer: dynmesh.Observer{ID: key.ID, Epoch: 1}, Role: dynmesh.RoleWorker, State: dynmesh.Alive, Since: time.Now()})
		g.Observations = append(g.Observations, testkit.Canary(key, 1, key.ID != 0xc))
	}
	unregistered := testkit.Key("d", "b", "other", 0xb)
	g.Observations = append(g.Observations, testkit.Canary(unregistered, 2, true),
		testkit.Path(0xa, 0xb, 3, dynmesh.Fail), testkit.Path(0xa, 0xc, 1, dynmesh.Fail), testkit.Path(0xa, 0xd, 1, dynmesh.Fail),
		dynmesh.Observation{
			Observer: dynmesh.Observer{ID: 0xd, Epoch: 1}, Seq: 2,
			Report: dynmesh.Report{Subject: dynmesh.Subject{ID: 0xd}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true},
		})
	k.discover(u)
	k.gossip(g)
	return k
}

func TestFleetMetrics(t *testing.T) {
	m := sample(t).builder.Snapshot().Mesh
	lines := scraped(t, m, false)
	for _, want := range []string{
		"ready[]0", "ghost_instances[]1", fmt.Sprintf("warnings[]%d", m.Warnings),
		"endpoint_verdict_instances[dyn://d.b.g ready]1", "endpoint_verdict_instances[dyn://d.b.g notready]1",
		"endpoint_verdict_instances[dyn://d.b.g unreachable]1", "endpoint_verdict_instances[dyn://d.b.g draining]1",
		"endpoint_verified_instances[dyn://d.b.g]1", "endpoint_unregistered_instances[dyn://d.b.g]0",
		"endpoint_unregistered_instances[dyn://d.b.other]1", "endpoint_expected_instances[dyn://d.b.g]4",
		"endpoint_expected_instances[dyn://d.p.g]2", "endpoint_verdict_instances[dyn://d.p.g ready]0",
		"expectation_met[dyn://d.b.g>=4]0", "expectation_instances[dyn://d.b.g>=4]1", "expectation_wanted_instances[dyn://d.b.g>=4]4",
		"expectation_met[dyn://*.*.*>=2]0",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no %s in\n%s", want, strings.Join(lines, "\n"))
		}
	}
	if m.Warnings == 0 {
		t.Error("want some warnings")
	}
	if strings.Contains(strings.Join(lines, "\n"), "instance_verdict") {
		t.Error("instances are told of though nobody asked")
	}
	if all := scraped(t, m, true); !slices.Contains(all, "instance_verdict[dyn://d.b.g a unreachable]1") {
		t.Errorf("got\n%s", strings.Join(all, "\n"))
	}
}

// Each cause is a series, and none is told twice, whatever others call their labels.
func TestCauseMetrics(t *testing.T) {
	m := sample(t).builder.Snapshot().Mesh
	if lines := scraped(t, m, false); !slices.Contains(lines, "common_causes[]0") {
		t.Errorf("no number of causes in\n%s", strings.Join(lines, "\n"))
	}
	m.Causes = []cause.Cause{
		{Label: cause.Label{Name: "host", Value: "h7"}, Workers: 9, Unreachable: 6, NotReady: 1, Vanished: 1}, {Workers: 20, Unreachable: 16},
		{Label: cause.Label{Name: "a", Value: "b=c"}, Unreachable: 3}, {Label: cause.Label{Name: "a=b", Value: "c"}, Unreachable: 2},
	}
	lines := scraped(t, m, false)
	for _, want := range []string{
		"common_causes[]4", "common_cause_failing_workers[host=h7]8", "common_cause_failing_workers[fleet]16", "common_cause_failing_workers[a=b=c]3",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no %s in\n%s", want, strings.Join(lines, "\n"))
		}
	}
	if slices.Contains(lines, "common_cause_failing_workers[a=b=c]2") {
		t.Error("a series is told twice")
	}
}

// Whatever stands in etcd, no series is told twice, and there are not more than a database likes.
func TestFleetMetricsOfForeignNames(t *testing.T) {
	k := newKnown(false, nil)
	{
		k.discover(testkit.Synced(testkit.HTTPInstance(testkit.Key("a.b", "c", "d", 1)), testkit.HTTPInstance(testkit.Key("a", "b.c", "d", 1))))
		lines := scraped(t, k.builder.Snapshot().Mesh, true)
		for _, want := range []string{"endpoint_verdict_instances[dyn://a.b.c.d ready]2", "instance_verdict[dyn://a.b.c.d 1 ready]1"} {
			if !slices.Contains(lines, want) {
				t.Errorf("no %s in %q", want, lines)
			}
		}
		u := testkit.Synced()
		for n := range maxEndpointSeries + 50 {
			u.Puts = append(u.Puts, testkit.HTTPInstance(testkit.Key("z", fmt.Sprintf("b%05d", n), "g", 1)))
		}
		k.discover(u)
		lines = scraped(t, k.builder.Snapshot().Mesh, false)
		if !slices.Contains(lines, "endpoint_verdict_instances[other ready]51") || len(lines) > 8*maxEndpointSeries {
			t.Errorf("got %d lines, the last %q", len(lines), lines[len(lines)-10:])
		}
	}
}
