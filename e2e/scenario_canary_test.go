package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// canaryDecides: a worker with canaries is ready once a request has completed, not ready when its engine freezes in the
// middle of an answer, refuses or answers nothing, and ready again when that is over. /live says what /health says, /livez
// stays 200, and the worker stays registered.
func canaryDecides(t *testing.T, w *world) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 1)
	workers := w.startWorkersWith(e, 0, 1, map[string]string{
		"DYN_HEALTH_CHECK_ENABLED": "true", "DYN_CANARY_WAIT_TIME": "1", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT": "1",
	}, "generate")
	keys := keysOf(workers...)
	await(t, settled, frontends, keys)
	sameLives := w.census(frontends, workers)
	vigils := append(w.alive(frontends, workers), w.listed(frontends, keys)...)

	worker := workers[0]
	worker.awaitStatus(t, http.StatusOK, "ready")
	for _, knobs := range []string{`{"freeze":1}`, `{"error_status":503}`, `{"empty":true}`, `{"error_chunk":0}`, `{"refuse":true}`} {
		worker.turn(t, knobs)
		began := time.Now()
		worker.awaitStatus(t, http.StatusServiceUnavailable, "notready")
		failed := time.Since(began)
		// Idle for the wait time, +10 %, then the timeout; the rest is what a busy machine needs.
		if limit := 2100*time.Millisecond + 2*time.Second; failed > limit {
			t.Errorf("%s: not ready after %v, want %v at most", knobs, millis(failed), limit)
		}
		worker.turn(t, `{}`)
		began = time.Now()
		worker.awaitStatus(t, http.StatusOK, "ready")
		t.Logf("%s: not ready after %v, ready %v after it was over", knobs, millis(failed), millis(time.Since(began)))
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
