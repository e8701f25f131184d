package canary

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{})
		p := &answering{}
		var inFlight atomic.Uint64
		w.serve(Endpoint{Name: "generate", Probe: p.probe, Activity: func() Activity { return Activity{InFlight: inFlight.Load()} }})
		w.serve(Endpoint{Name: "bare"})
		synctest.Wait()
		inFlight.Store(1)
		time.Sleep(11500 * time.Millisecond) // one is skipped
		inFlight.Store(0)
		p.err.Store(&dynmesh.Failure{Reason: dynmesh.ReasonRefused})
		time.Sleep(time.Second / 2) // one fails, as soon as it is seen that nothing is in flight
		w.Drain("bare")
		synctest.Wait()
		got := scrape(t, w.Monitor)
		for _, want := range []string{
			`sent_total{endpoint="bare"} 0`,
			`sent_total{endpoint="generate"} 2`,
			`failed_total{endpoint="generate",reason="refused"} 1`,
			`skipped_total{endpoint="generate",reason="busy"} 1`,
			`skipped_total{endpoint="bare",reason="busy"} 0`,
			`duration_seconds_count 1`,
			`first_chunk_seconds_count 0`,
			`state{endpoint="bare",state="draining"} 1`,
			`state{endpoint="bare",state="unchecked"} 0`,
			`state{endpoint="generate",state="busy"} 0`,
			`state{endpoint="generate",state="draining"} 0`,
			`state{endpoint="generate",state="fail"} 1`,
			`state{endpoint="generate",state="pass"} 0`,
			`state{endpoint="generate",state="stalled"} 0`,
			`state{endpoint="generate",state="unchecked"} 0`,
			`maintenance 0`,
			`stall_budget_seconds{endpoint="generate"} 120`,
			`starved_seconds_total 0`,
		} {
			if want = "dynmesh_canary_" + want + "\n"; !strings.Contains(got, "\n"+want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
		problems, err := promlint.New(strings.NewReader(got)).Lint()
		if err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
		w.Forget("generate")
		synctest.Wait()
		if got := scrape(t, w.Monitor); strings.Contains(got, `"generate"`) {
			t.Errorf("got metrics of a forgotten endpoint:\n%s", got)
		}
	})
}

func scrape(t *testing.T, c prometheus.Collector) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("scrape: %d %s", rec.Code, rec.Body)
	}
	return rec.Body.String()
}
