package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// canaryDecides: a sidecar is ready once a request has completed. Each fault of its engine, alone
// and while it is idle, makes it not ready within the wait and the timeout, for the right reason,
// and it is ready again when that is over. /live says what /health says, /livez stays 200, and the
// sidecar stays registered.
func canaryDecides(t *testing.T, w *world) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 1)
	engine := w.startEngine(w.reserveEngine())
	const wait, timeout = time.Second, time.Second
	sidecar := w.launchSidecar(e, engine.where(), map[string]string{
		"DYN_CANARY_WAIT_TIME": wait.String(), "DYN_HEALTH_CHECK_REQUEST_TIMEOUT": timeout.String(),
	})
	sidecars := []*worker{sidecar}
	eventually(t, settled, "the sidecar is registered", func() error { return sidecar.findID(e) })
	keys := keysOf(sidecars...)
	await(t, settled, frontends, keys)
	sameLives := w.census(frontends, sidecars)
	vigils := append(w.alive(frontends, sidecars), w.listed(frontends, keys)...)

	sidecar.awaitStatus(t, http.StatusOK, "ready")
	for _, fault := range []struct{ knobs, reason string }{
		{`{"freeze":0}`, "timeout"},
		{`{"freeze":1}`, "frozen"}, // a verdict from the first chunk would miss it
		{`{"first_token_delay":"1m"}`, "timeout"},
		{`{"error_status":503}`, "status"},
		{`{"error_chunk":0}`, "error_chunk"},
		{`{"empty":true}`, "empty"},
		{`{"drop":1}`, "cut"},
		{`{"refuse":true}`, "refused"},
	} {
		failed := fmt.Sprintf(`dynmesh_canary_failed_total{endpoint="generate",reason=%q}`, fault.reason)
		before := sidecar.metric(t, failed)
		engine.turn(t, fault.knobs)
		began := time.Now()
		sidecar.awaitStatus(t, http.StatusServiceUnavailable, "notready")
		took := w.pace.Since(began)
		// The wait varies by 10 %; the rest is what a busy machine needs.
		if limit := wait*11/10 + timeout + 2*time.Second; took > limit {
			t.Errorf("%s: not ready after %v, want %v at most", fault.knobs, millis(took), limit)
		}
		if sidecar.metric(t, failed) == before {
			t.Errorf("%s: no canary failed for the reason %q", fault.knobs, fault.reason)
		}
		engine.turn(t, `{}`)
		began = time.Now()
		sidecar.awaitStatus(t, http.StatusOK, "ready")
		t.Logf("%s: not ready after %v (%s), ready %v after it was over", fault.knobs, millis(took), fault.reason, millis(time.Since(began)))
	}
	end(t, vigils...)
	sameLives()
}

// awaitStatus waits until /health and /live agree on it.
func (w *worker) awaitStatus(t *testing.T, status int, word string) {
	t.Helper()
	eventually(t, settled, fmt.Sprintf("%s says %s", w.name(), word), func() error {
		for _, path := range []string{"/health", "/live"} {
			r, err := get(ask(), "http://"+w.where().addr(systemPort)+path)
			if err != nil {
				return err
			}
			var said struct{ Status string }
			if err := json.Unmarshal(r.body, &said); err != nil || r.status != status || said.Status != word {
				return fmt.Errorf("%s: got %d %s, want %d and %s", path, r.status, r.body, status, word)
			}
		}
		return nil
	})
}
