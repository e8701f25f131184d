package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// pace is how long things take in a scenario that has a long form, with the defaults, and a short
// one.
type pace struct {
	wait, stall time.Duration // DYN_CANARY_WAIT_TIME, DYN_CANARY_STALL_BUDGET
	prefill     time.Duration
}

func (p pace) env(more ...string) map[string]string {
	env := map[string]string{"DYN_CANARY_WAIT_TIME": p.wait.String(), "DYN_CANARY_STALL_BUDGET": p.stall.String()}
	for i := 0; i < len(more); i += 2 {
		env[more[i]] = more[i+1]
	}
	return env
}

// prefillBlocks: a prefill blocks everything behind it for a long time, and the worker is never not
// ready. Then tokens stop coming for good: after the stall budget, and a canary that gets no answer
// either, it is stalled, and no sooner.
// When they come again it is ready.
//
// With around, requests go to the engine itself, and the sidecar sees them in the engine's counters
// only.
func prefillBlocks(t *testing.T, w *world, p pace, around bool) {
	e := w.startEtcd(1)
	engine := w.startEngine(w.reserveEngine())
	env := p.env()
	if around {
		env["DYN_BACKEND_ACTIVITY"] = "metrics"
	}
	sidecar := w.launchSidecar(e, engine.where(), env)
	sidecar.awaitStatus(t, http.StatusOK, "ready")
	vigils := append(w.alive(nil, []*worker{sidecar}), w.ready(sidecar))
	url := "http://" + sidecar.where().addr(rpcPort) + "/v1/completions"
	if around {
		url = "http://" + engine.where().addr(enginePort) + "/v1/completions"
	}
	const skipped, sent, stalled = `dynmesh_canary_skipped_total`, `dynmesh_canary_sent_total`, `dynmesh_canary_state{endpoint="generate",state="stalled"}`

	engine.turn(t, fmt.Sprintf(`{"prefill":"%v"}`, p.prefill))
	began := time.Now()
	requests := []*request{w.post(url)}
	engine.await(t, 1)
	engine.turn(t, `{"token_delay":"100ms"}`) // the prefill under way goes on; those behind it have short ones
	for range 4 {
		requests = append(requests, w.post(url))
	}
	engine.await(t, 5)
	eventually(t, 2*p.wait+2*time.Second, "a canary is skipped as busy", func() error {
		if sidecar.metric(t, skipped) == 0 {
			return fmt.Errorf("none yet")
		}
		return nil
	})
	before := sidecar.metric(t, sent)
	for _, r := range requests {
		r.await(t, p.prefill+settled)
	}
	took := time.Since(began)
	if after := sidecar.metric(t, sent); after != before {
		t.Errorf("%v canaries were sent during the prefill, want none", after-before)
	}
	if took < p.prefill {
		t.Errorf("the requests ended after %v, want the prefill of %v to block them", took, p.prefill)
	}
	t.Logf("prefill: %d requests ended within %v; %v canaries skipped as busy", len(requests), millis(took), sidecar.metric(t, skipped))

	engine.turn(t, `{"freeze":1}`)
	hanging := w.post(url)
	engine.await(t, 1)
	began = time.Now()
	ended := p.stall - 2*time.Second // what may still be of the last requests, and of looks at counters, is less
	eventually(t, ended+time.Second, "most of the budget is over", func() error {
		if d := time.Since(began); d < ended {
			return fmt.Errorf("%v is", d)
		}
		return nil
	})
	end(t, vigils[1:]...)
	sidecar.awaitStatus(t, http.StatusServiceUnavailable, "notready")
	took = w.pace.Since(began)
	if limit := p.stall + 5*time.Second; took > limit {
		t.Errorf("stalled after %v, want %v at most", took, limit)
	}
	if sidecar.metric(t, stalled) != 1 {
		t.Error("the metrics do not say that it is stalled")
	}
	t.Logf("stalled %v after the last token, with a budget of %v", millis(took), p.stall)

	engine.turn(t, `{}`)
	sidecar.awaitStatus(t, http.StatusOK, "ready")
	hanging.await(t, settled)
	end(t, vigils[0])
	log, err := sidecar.logs()
	if want := "Endpoint generate is stalled: 1 in flight, no progress for "; err != nil || !strings.Contains(log, want) {
		t.Errorf("the log has no line %q (%v)", want, err)
	}
}

// await waits until so many requests are in the engine, running or in line.
func (m *mockEngine) await(t *testing.T, requests float64) {
	t.Helper()
	eventually(t, settled, fmt.Sprintf("%v requests are in the engine", requests), func() error {
		r, err := get(ask(), "http://"+m.where().addr(enginePort)+"/metrics")
		if err != nil {
			return err
		}
		if got := sumOf(t, m.where().name, r.body, "vllm:num_requests_running") + sumOf(t, m.where().name, r.body, "vllm:num_requests_waiting"); got != requests {
			return fmt.Errorf("got %v", got)
		}
		return nil
	})
}
