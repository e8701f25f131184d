package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestMetrics(t *testing.T) {
	f := start(t, Config{Version: "v1.2.3"}, nil, nil)
	f.discover(testkit.Synced(testkit.Instances(20)...))
	f.waitGzip()
	got := f.get("/metrics")
	p := f.newest.Load()
	for _, want := range []string{
		`dynmesh_frontend_info{version="v1.2.3"} 1`,
		`dynmesh_frontend_endpoint_instances{endpoint="dyn://dynamo.backend-0.generate"} 3`,
		`dynmesh_frontend_endpoint_instances{endpoint="dyn://dynamo.backend-7.generate"} 2`,
		`dynmesh_frontend_renders_total 1`,
		`dynmesh_frontend_state_version 1`,
		fmt.Sprintf(`dynmesh_frontend_body_bytes{encoding="identity"} %d`, p.Health.Identity.Size),
		fmt.Sprintf(`dynmesh_frontend_body_bytes{encoding="gzip"} %d`, p.Health.Gzip().Size),
		`dynmesh_frontend_connections 1`,
		`dynmesh_frontend_slow_readers_cut_total 0`,
		`go_goroutines `,
		`process_open_fds `,
	} {
		if !strings.Contains(got.body, "\n"+want) {
			t.Errorf("no %q in\n%s", want, got.body)
		}
	}
	problems, err := promlint.New(strings.NewReader(got.body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// A scrape must hold whatever stands in etcd: names that are not UTF-8, names that two endpoints
// share, and more endpoints than a time series database likes.
func TestMetricsOfForeignNames(t *testing.T) {
	f := start(t, Config{Version: "\xff"}, nil, nil)
	puts := []dynmesh.Instance{
		testkit.HTTPInstance(testkit.Key("a.b", "c", "d", 1)),
		testkit.HTTPInstance(testkit.Key("a", "b.c", "d", 1)),
		testkit.HTTPInstance(testkit.Key("a\xff", "b", "c", 1)),
		testkit.HTTPInstance(testkit.Key("a\xfe", "b", "c", 1)),
		testkit.HTTPInstance(testkit.Key("a\"\n", "b", "c", 1)),
	}
	const named = 3 // of those five
	for n := range maxEndpointSeries + 50 {
		puts = append(puts, testkit.HTTPInstance(testkit.Key("z", fmt.Sprintf("b%05d", n), "g", 1)))
	}
	f.discover(testkit.Synced(puts...))
	got := f.get("/metrics")
	if got.code != 200 {
		t.Fatalf("got %d %s", got.code, got.body)
	}
	if n := strings.Count(got.body, "\ndynmesh_frontend_endpoint_instances{"); n != maxEndpointSeries+1 {
		t.Errorf("got %d series, want %d", n, maxEndpointSeries+1)
	}
	for _, want := range []string{
		`{endpoint="dyn://a.b.c.d"} 2`,
		fmt.Sprintf(`{endpoint="other"} %d`, 50+named),
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("no %q", want)
		}
	}
}
