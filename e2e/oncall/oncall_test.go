package oncall

import (
	"strings"
	"testing"
)

// TestOnCall goes through a night: a mesh that is well, that breaks, and that loses etcd. What
// people on call are given has to tell them so each time.
func TestOnCall(t *testing.T) {
	s := readSchemas(t)
	_, questions := readRunbook(t)
	f := newFleet(t)
	events := f.listen(t, s)
	p := f.watch(t)
	t.Run("well: answers fit their schemas", func(t *testing.T) { f.answersFit(t, s) })
	t.Run("well: the runbook", func(t *testing.T) { f.answers(t, questions, func(q question) string { return q.good }) })
	t.Run("well: Prometheus finds all, and no alert fires", p.finds)

	f.breaks()
	t.Run("broken: alerts fire", func(t *testing.T) {
		p.fires(t,
			map[string]string{"alertname": "DynmeshBelowExpectation", "expectation": backendName + ">=3", "severity": "critical"},
			map[string]string{"alertname": "DynmeshBelowExpectation", "expectation": prefillName + ">=2"},
			map[string]string{"alertname": "DynmeshGhostInstances", "endpoint": backendName},
			map[string]string{"alertname": "DynmeshOutputHeld", "job": "dynmesh"},
			map[string]string{"alertname": "DynmeshCanariesFailing", "namespace": "dynamo", "worker_component": "prefill", "endpoint": "generate"})
	})
	t.Run("broken: answers fit their schemas", func(t *testing.T) { f.answersFit(t, s) })
	t.Run("broken: the runbook", func(t *testing.T) { f.answers(t, questions, func(q question) string { return q.bad }) })
	t.Run("broken: every metric that is asked for is told", f.metricsExist)
	t.Run("broken: the dashboard shows something everywhere", p.shows)

	if err := f.etcd.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("etcd away: alerts fire", func(t *testing.T) {
		for _, front := range f.frontends {
			p.fires(t, map[string]string{"alertname": "DynmeshDiscoveryStale", "state": "stale", "instance": strings.TrimPrefix(front.url, "http://")})
		}
		p.fires(t, map[string]string{"alertname": "DynmeshOutputLeaderless", "output": "dynamo"})
	})
	t.Run("etcd away: answers fit their schemas", func(t *testing.T) { f.answersFit(t, s) })
	t.Run("events fit their schemas", func(t *testing.T) {
		changes, err := events.stop()
		if err != nil || changes == 0 {
			t.Errorf("got %d changes: %v", changes, err)
		}
	})
}
