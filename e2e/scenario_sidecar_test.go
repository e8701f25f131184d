package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// engineComesAndGoes: the engine comes up long after its sidecar, is killed, and comes back: not
// ready, ready, not ready, ready, by the same process. The sidecar is registered from the engine's
// first answer on, and stays so while it is away.
func engineComesAndGoes(t *testing.T, w *world, wait, late time.Duration) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 1)
	place := w.reserveEngine()
	sidecar := w.launchSidecar(e, place, map[string]string{"DYN_CANARY_WAIT_TIME": wait.String()})
	sidecars := []*worker{sidecar}
	sameLives := w.census(frontends, sidecars)
	vigils := w.alive(frontends, sidecars)

	absent := w.throughout("without an engine, the sidecar is not ready and not registered", 100*time.Millisecond, func(client *http.Client) error {
		for _, path := range []string{"/health", "/live"} {
			r, err := get(client, sidecar.status(path))
			if err == nil && r.status != http.StatusServiceUnavailable {
				err = fmt.Errorf("%s: got %d, want 503", path, r.status)
			}
			if err != nil {
				return err
			}
		}
		yes, err := sidecar.registered(e)
		if yes {
			err = errors.New("it is registered")
		}
		return err
	})
	began := time.Now()
	eventually(t, late+time.Second, "the engine is late", func() error {
		if left := late - time.Since(began); left > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
	end(t, absent)

	engine := w.startEngine(place)
	began = time.Now()
	sidecar.awaitStatus(t, http.StatusOK, "ready")
	// The sidecar looks for it every 5 s, +30 %, and then asks at once.
	if took, limit := w.pace.Since(began), 6500*time.Millisecond+3*time.Second; took > limit {
		t.Errorf("ready %v after the engine, want %v at most", millis(took), limit)
	} else {
		t.Logf("came up: ready after %v", millis(took))
	}
	eventually(t, settled, "the sidecar is registered", func() error { return sidecar.findID(e) })
	keys := sidecar.keys()
	await(t, settled, frontends, keys)
	vigils = append(vigils, w.listed(frontends, keys)...)
	w.post("http://"+sidecar.where().addr(rpcPort)+"/v1/completions").await(t, settled)

	w.kill(engine, syscall.SIGKILL)
	began = time.Now()
	sidecar.awaitStatus(t, http.StatusServiceUnavailable, "notready")
	// Idle for the wait time, +10 %; then a connection is refused at once, or, where a container's
	// address is gone with it, nobody answers for 3 s. The rest is what a busy machine needs.
	if took, limit := w.pace.Since(began), wait*11/10+6*time.Second; took > limit {
		t.Errorf("not ready %v after the engine was killed, want %v at most", millis(took), limit)
	} else {
		t.Logf("killed: not ready after %v", millis(took))
	}
	w.must("start the engine", engine.start(sameDisk))
	began = time.Now()
	w.awaitEngine(engine)
	sidecar.awaitStatus(t, http.StatusOK, "ready")
	t.Logf("came back: ready after %v", millis(time.Since(began)))
	w.post("http://"+sidecar.where().addr(rpcPort)+"/v1/completions").await(t, settled)
	end(t, vigils...)
	sameLives()
}
