package canary

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
)

// world is a schedule, an engine and its clients, on virtual time. It does what a monitor does, and holds what the schedule
// says against what it knows to be true.
type world struct {
	t      *rapid.T
	policy policy
	period time.Duration // between samples
	now    instant

	schedule schedule
	wake     instant
	history  []string

	// The engine.
	counts   bool // canaries show in its counters
	activity Activity

	// The canary under way.
	flying     bool
	generation uint32
	sent       instant
	ends       instant // when its result comes by itself; never: it hangs
	reason     dynmesh.Reason
	told, late bool

	// What is true.
	success    instant // the last, of requests or canaries
	moved      instant // the last chunk or completion of a request
	traffic    instant // the last that could not be a canary's
	registered instant
	idleSince  instant // since when there has been no request in flight; never while there is one
	sampledAt  instant
}

func (w *world) logf(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf("%v: ", w.now)+fmt.Sprintf(format, args...))
}

func (w *world) fatalf(format string, args ...any) {
	for _, l := range w.history[max(0, len(w.history)-15):] {
		w.t.Log(l)
	}
	w.t.Fatalf("at %v: "+format, append([]any{w.now}, args...)...)
}

// step feeds an event and checks what must always hold.
func (w *world) step(e event) {
	was := w.schedule
	next, do := w.policy.step(was, e, w.now)
	w.schedule, w.wake = next, do.wake
	w.logf("%+v -> %s", e, describe(next, do))

	if do.wake <= w.now {
		w.fatalf("wake is %v, which has been", do.wake)
	}
	if do.cut {
		if !w.flying {
			w.fatalf("it cuts a canary, and there is none")
		}
		w.told, w.late = true, do.late
	}
	if do.outcome == passed {
		w.success = w.now
	}
	// Never two canaries at once.
	if do.send {
		if w.flying {
			w.fatalf("it sends a canary, and there is one")
		}
		// No canary within the wait time after a success. (A new registration is a new endpoint.)
		if w.success >= w.registered && w.success > 0 && w.now-w.success < w.policy.wait*9/10 {
			w.fatalf("it sends a canary %v after a success", w.now-w.success)
		}
		if !next.checked || next.draining {
			w.fatalf("it sends a canary to an endpoint without probe, or one that drains")
		}
		w.launch()
	}
	w.checkReadiness(was, next, e)
	w.checkStale(was, next, e)
}

// checkReadiness: an endpoint that completes requests is never not ready.
func (w *world) checkReadiness(was, next schedule, e event) {
	if next.draining || e.kind == registered {
		return
	}
	if e.fresh && e.kind == tick && !w.counts && e.activity.evidence() > was.evidence && !next.ready {
		w.fatalf("a request has moved, and the endpoint is not ready")
	}
	if was.ready && !next.ready && !w.counts && w.traffic >= w.registered {
		if quiet := w.now - w.traffic; next.finding == dynmesh.Stalled && quiet < w.policy.stall {
			w.fatalf("stalled %v after a request moved", quiet)
		}
		if next.finding != dynmesh.Stalled && w.traffic >= w.sent && e.kind == answered {
			w.fatalf("not ready by a canary that was sent before a request moved")
		}
		if quiet := w.now - w.traffic; next.finding != dynmesh.Stalled && w.traffic >= w.sent && quiet < w.policy.wait*9/10 {
			w.fatalf("not ready %v after a request moved, because a canary of before hangs", quiet)
		}
	}
	if !next.checked && !next.ready {
		w.fatalf("an endpoint without a probe is not ready")
	}
}

// checkStale: nothing is flipped by a canary that started before the endpoint was registered anew. What the sample that
// comes along says is another matter: so it is held against the same sample without a canary.
func (w *world) checkStale(was, next schedule, e event) {
	if e.kind != answered || e.generation == was.generation {
		return
	}
	same, _ := w.policy.step(was, event{kind: tick, fresh: true, activity: e.activity}, w.now)
	if same.ready != next.ready || same.finding != next.finding || same.failures != next.failures || same.successes != next.successes {
		w.fatalf("a canary of generation %d changed what generation %d is", e.generation, was.generation)
	}
}

// checkDead: a dead endpoint is not ready within wait + timeout, times the threshold, of its last success.
func (w *world) checkDead() {
	s := w.schedule
	if !s.served || !s.checked || s.draining || !s.ready {
		return
	}
	once := w.policy.wait*11/10 + w.period + w.policy.timeout + grace
	bound := once * time.Duration(w.policy.failures)
	alive := max(w.success, w.moved, w.registered, s.until)
	if w.idleSince > alive {
		// Requests that never moved were in flight: the budget for those comes on top, once.
		bound += w.policy.stall + once
	}
	if w.now-alive > bound {
		w.fatalf("nothing has succeeded for %v, and the endpoint is ready (want it not to be after %v)", w.now-alive, bound)
	}
}

func (w *world) launch() {
	w.flying, w.generation, w.sent, w.told, w.late = true, w.schedule.generation, w.now, false, false
	w.ends, w.reason = never, ""
	switch rapid.IntRange(0, 4).Draw(w.t, "answer") {
	case 0, 1:
		w.ends = w.now + time.Duration(rapid.IntRange(0, 2000).Draw(w.t, "latency ms"))*time.Millisecond
	case 2:
		w.ends = w.now + time.Duration(rapid.IntRange(0, 2000).Draw(w.t, "latency ms"))*time.Millisecond
		w.reason = rapid.SampledFrom([]dynmesh.Reason{dynmesh.ReasonRefused, dynmesh.ReasonStatus, dynmesh.ReasonEmpty, dynmesh.ReasonCut}).Draw(w.t, "reason")
	case 3: // it hangs until it is told to end
	case 4: // and even then
		w.ends = w.now + time.Duration(rapid.IntRange(3000, 60_000).Draw(w.t, "latency ms"))*time.Millisecond
	}
	if w.counts {
		w.activity.InFlight++
	}
}

// land ends the canary.
func (w *world) land() {
	w.flying = false
	e := event{kind: answered, generation: w.generation, reason: w.reason, fresh: true}
	switch {
	case w.told && w.late && w.now < w.ends:
		e.reason = dynmesh.ReasonTimeout
	case w.told && w.now < w.ends:
		e.reason = dynmesh.ReasonCanceled
	}
	if w.counts {
		w.activity.InFlight--
		w.activity.Progress++
		if e.reason != "" {
			w.activity.Failed++
		}
	}
	e.activity = w.activity
	w.step(e)
}

// pass lets time go by, and everything happen that is due.
func (w *world) pass(d time.Duration) {
	until := w.now + d
	for {
		next := min(until, w.wake, w.sampledAt+w.period)
		if w.flying {
			end := w.ends
			if w.told && w.ends-w.sent <= 3*time.Second || w.told && w.ends == never {
				end = w.now
			}
			next = min(next, max(end, w.now))
		}
		w.now = max(next, w.now)
		switch {
		case w.flying && (w.now >= w.ends || w.told && (w.ends == never || w.ends-w.sent <= 3*time.Second)):
			w.land()
		case w.now >= w.wake || w.now >= w.sampledAt+w.period:
			w.sampledAt = w.now
			w.step(event{kind: tick, fresh: true, activity: w.activity})
		default:
			w.checkDead()
			return
		}
		w.checkDead()
	}
}

func (w *world) register() {
	w.registered, w.success, w.traffic = w.now, 0, -1
	w.step(event{
		kind: registered, checked: rapid.IntRange(0, 5).Draw(w.t, "payload") > 0, counted: w.counts, activity: w.activity,
		seed: rapid.Uint32().Draw(w.t, "seed"),
	})
}

// proof is a chunk, or an answer that is complete. Beside a canary that is counted like it, it need not prove anything.
func (w *world) proof() {
	w.moved = w.now
	if !w.counts || !w.flying && w.now >= w.schedule.settled {
		w.success, w.traffic = w.now, w.now
	}
}

func (w *world) others() uint64 {
	if w.counts && w.flying {
		return w.activity.InFlight - 1
	}
	return w.activity.InFlight
}

func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, now: time.Second, wake: never, traffic: -1, idleSince: 0}
		w.policy = policy{
			wait: 10 * time.Second, timeout: 3 * time.Second, recheck: time.Second, stall: 60 * time.Second,
			failures:  uint16(rapid.IntRange(1, 3).Draw(t, "failures")),
			successes: uint16(rapid.IntRange(1, 3).Draw(t, "successes")),
		}
		w.period = time.Second
		w.counts = rapid.IntRange(0, 3).Draw(t, "counts canaries") == 0
		w.register()
		t.Repeat(map[string]func(*rapid.T){
			"":            func(t *rapid.T) { w.t = t },
			"time passes": func(t *rapid.T) { w.pass(time.Duration(rapid.IntRange(1, 5000).Draw(t, "ms")) * time.Millisecond) },
			"much time":   func(t *rapid.T) { w.pass(time.Duration(rapid.IntRange(5, 100).Draw(t, "s")) * time.Second) },
			"a request":   func(t *rapid.T) { w.activity.InFlight++; w.idleSince = never },
			"a chunk": func(t *rapid.T) {
				if w.others() > 0 {
					w.activity.Progress++
					w.proof()
				}
			},
			"a request ends": func(t *rapid.T) {
				if w.others() == 0 {
					return
				}
				w.activity.InFlight--
				w.activity.Progress++
				if rapid.Bool().Draw(t, "well") {
					w.activity.Completed++
					w.proof()
				} else {
					w.activity.Failed++
				}
				if w.others() == 0 {
					w.idleSince = w.now
				}
			},
			"served anew": func(t *rapid.T) {
				if rapid.IntRange(0, 3).Draw(t, "really") == 0 {
					w.register()
				}
			},
			"drained": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "really") == 0 {
					w.step(event{kind: drained})
				}
			},
			"it may work again": func(*rapid.T) {
				w.step(event{kind: hinted, fresh: true, activity: w.activity})
			},
			"doubt": func(t *rapid.T) {
				w.activity.Doubtful = w.activity.InFlight > 0 && rapid.Bool().Draw(t, "doubtful")
			},
			"maintenance": func(t *rapid.T) {
				if rapid.IntRange(0, 5).Draw(t, "really") == 0 {
					w.step(event{kind: maintaining, until: w.now + time.Duration(rapid.IntRange(0, 100).Draw(t, "s"))*time.Second})
				}
			},
		})
	})
}
