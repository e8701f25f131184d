package schedule

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
)

// world is a schedule, an engine and its clients, on virtual time. It does what a monitor does, and
// holds what the schedule says against what it knows to be true.
type world struct {
	t      *rapid.T
	policy Policy
	period time.Duration // between samples
	now    Instant

	schedule State
	wake     Instant
	history  []string

	// The engine.
	counts   bool // canaries show in its counters
	activity Activity

	// The canary under way.
	running         bool
	generation      uint32
	sent            Instant
	ends            Instant // when its result comes by itself; never: it hangs
	reason          dynmesh.Reason
	cancelled, late bool

	// What is true.
	success    Instant // the last, of requests or canaries
	moved      Instant // the last chunk or completion of a request
	traffic    Instant // the last that could not be a canary's
	registered Instant
	idleSince  Instant // since when there has been no request in flight; never while there is one
	sampledAt  Instant
	moves      Instant // the engine's last step
	signed     Instant // the last sign that was no canary's
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
func (w *world) step(e Event) {
	was := w.schedule
	next, do := w.policy.Step(was, e, w.now)
	w.schedule, w.wake = next, do.Wake
	w.logf("%+v -> %s", e, describe(next, do))

	if do.Wake <= w.now {
		w.fatalf("wake is %v, which has been", do.Wake)
	}
	if do.Cancel {
		if !w.running {
			w.fatalf("it cuts a canary, and there is none")
		}
		w.cancelled, w.late = true, do.Late
	}
	if do.Outcome == Passed {
		w.success = w.now
	}
	// Never two canaries at once.
	if do.Send {
		if w.running {
			w.fatalf("it sends a canary, and there is one")
		}
		// No canary within the wait time after a success. (A new registration is a new endpoint.)
		signed := w.signed >= w.success || was.traffic.failing || was.suspectedAt > 0 || was.rejected
		if w.success >= w.registered && w.success > 0 && w.now-w.success < w.policy.Wait*9/10 && !signed {
			w.fatalf("it sends a canary %v after a success", w.now-w.success)
		}
		if w.now < next.until {
			w.fatalf("it sends a canary during maintenance")
		}
		if !next.hasProbe || next.Draining {
			w.fatalf("it sends a canary to an endpoint without probe, or one that drains")
		}
		w.launch()
	}
	w.checkReadiness(was, next, e)
	w.checkStale(was, next, e)
}

// checkReadiness: an endpoint that completes requests is never not ready.
func (w *world) checkReadiness(was, next State, e Event) {
	if next.Draining || e.Kind == Served {
		return
	}
	if e.Sampled && e.Kind == Tick && !w.counts && e.Activity.evidence() > was.traffic.evidence && !next.Ready {
		w.fatalf("a request has moved, and the endpoint is not ready")
	}
	if was.Ready && !next.Ready && !w.counts && w.traffic >= w.registered && w.signed < w.traffic && e.Activity.ErrorsInRow == 0 {
		if quiet := w.now - w.traffic; next.Finding == dynmesh.Stalled && quiet < w.policy.Stall {
			w.fatalf("stalled %v after a request moved", quiet)
		}
		if next.Finding != dynmesh.Stalled && w.traffic >= w.sent && e.Kind == Ended {
			w.fatalf("not ready by a canary that was sent before a request moved")
		}
		if quiet := w.now - w.traffic; next.Finding != dynmesh.Stalled && w.traffic >= w.sent && quiet < w.policy.Wait*9/10 {
			w.fatalf("not ready %v after a request moved, because a canary of before hangs", quiet)
		}
	}
	if !next.hasProbe && !next.Ready {
		w.fatalf("an endpoint without a probe is not ready")
	}
}

// checkStale: nothing is flipped by a canary that started before the endpoint was registered anew.
// What the sample that comes along says is another matter: so it is held against the same sample
// without a canary.
func (w *world) checkStale(was, next State, e Event) {
	if e.Kind != Ended || e.Generation == was.Generation {
		return
	}
	same, _ := w.policy.Step(was, Event{Kind: Tick, Sampled: true, Activity: e.Activity}, w.now)
	if same.Ready != next.Ready || same.Finding != next.Finding || same.failures != next.failures || same.successes != next.successes {
		w.fatalf("a canary of generation %d changed what generation %d is", e.Generation, was.Generation)
	}
}

// checkDead: a dead endpoint is not ready within wait + timeout, times the threshold, of its last
// success.
func (w *world) checkDead() {
	s := w.schedule
	if !s.served || !s.hasProbe || s.Draining || !s.Ready {
		return
	}
	once := w.policy.Wait*11/10 + w.period + max(w.policy.Timeout, w.policy.StartTimeout) + Grace
	bound := once * time.Duration(w.policy.FailureThreshold)
	alive := max(w.success, w.moved, w.moves, w.registered, s.until)
	if w.idleSince > alive {
		// Requests that never moved were in flight: the budget for those comes on top, once.
		bound += w.policy.Stall + w.policy.Timeout + Grace + once
	}
	if w.now-alive > bound {
		w.fatalf("nothing has succeeded for %v, and the endpoint is ready (want it not to be after %v)", w.now-alive, bound)
	}
}

func (w *world) launch() {
	w.running, w.generation, w.sent, w.cancelled, w.late = true, w.schedule.Generation, w.now, false, false
	w.ends, w.reason = Never, ""
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

// finish ends the canary.
func (w *world) finish() {
	w.running = false
	e := Event{Kind: Ended, Generation: w.generation, Reason: w.reason, Sampled: true}
	switch {
	case w.cancelled && w.late && w.now < w.ends:
		e.Reason = dynmesh.ReasonTimeout
	case w.cancelled && w.now < w.ends:
		e.Reason = dynmesh.ReasonCanceled
	}
	if w.counts {
		w.activity.InFlight--
		w.activity.Progress++
		if e.Reason != "" {
			w.activity.Failed++
		}
	}
	e.Activity = w.activity
	w.step(e)
}

// pass lets time go by, and everything happen that is due.
func (w *world) pass(d time.Duration) {
	until := w.now + d
	for {
		next := min(until, w.wake, w.sampledAt+w.period)
		if w.running {
			end := w.ends
			if w.cancelled && w.ends-w.sent <= 3*time.Second || w.cancelled && w.ends == Never {
				end = w.now
			}
			next = min(next, max(end, w.now))
		}
		w.now = max(next, w.now)
		switch {
		case w.running && (w.now >= w.ends || w.cancelled && (w.ends == Never || w.ends-w.sent <= 3*time.Second)):
			w.finish()
		case w.now >= w.wake || w.now >= w.sampledAt+w.period:
			w.sampledAt = w.now
			w.step(Event{Kind: Tick, Sampled: true, Activity: w.activity})
		default:
			w.checkDead()
			return
		}
		w.checkDead()
	}
}

func (w *world) register() {
	w.registered, w.success, w.traffic = w.now, 0, -1
	w.step(Event{
		Kind: Served, HasProbe: rapid.IntRange(0, 5).Draw(w.t, "payload") > 0, CountsProbes: w.counts, Activity: w.activity,
		Seed: rapid.Uint32().Draw(w.t, "seed"),
	})
}

// proof is a chunk, or an answer that is complete. Beside a canary that is counted like it, it need
// not prove anything.
func (w *world) proof() {
	w.moved = w.now
	if !w.counts || !w.running && w.now >= w.schedule.traffic.echoUntil {
		w.success, w.traffic = w.now, w.now
		w.activity.ErrorsInRow = 0
	}
}

func (w *world) others() uint64 {
	if w.counts && w.running {
		return w.activity.InFlight - 1
	}
	return w.activity.InFlight
}

func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, now: time.Second, wake: Never, traffic: -1, idleSince: 0}
		w.policy = Policy{
			Wait: 10 * time.Second, Timeout: 3 * time.Second, Recheck: time.Second, Stall: 60 * time.Second,
			StartTimeout:     time.Duration(rapid.SampledFrom([]int{0, 3, 20}).Draw(t, "start timeout")) * time.Second,
			FailureThreshold: uint16(rapid.IntRange(1, 3).Draw(t, "failures")),
			SuccessThreshold: uint16(rapid.IntRange(1, 3).Draw(t, "successes")),
		}
		w.period = time.Second
		w.counts = rapid.IntRange(0, 3).Draw(t, "counts canaries") == 0
		w.register()
		t.Repeat(map[string]func(*rapid.T){
			"":            func(t *rapid.T) { w.t = t },
			"time passes": func(t *rapid.T) { w.pass(time.Duration(rapid.IntRange(1, 5000).Draw(t, "ms")) * time.Millisecond) },
			"much time":   func(t *rapid.T) { w.pass(time.Duration(rapid.IntRange(5, 100).Draw(t, "s")) * time.Second) },
			"a request":   func(t *rapid.T) { w.activity.InFlight++; w.idleSince = Never },
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
					w.step(Event{Kind: Drained})
				}
			},
			"it may work again": func(*rapid.T) {
				w.step(Event{Kind: Nudged, Sampled: true, Activity: w.activity})
			},
			"a sign": func(t *rapid.T) {
				w.signed = w.now
				r := rapid.SampledFrom([]dynmesh.Reason{dynmesh.ReasonRefused, dynmesh.ReasonDead, dynmesh.ReasonCut, dynmesh.ReasonStatus}).Draw(t, "sign")
				w.step(Event{Kind: Suspected, Reason: r, Sampled: true, Activity: w.activity})
			},
			"a request fails": func(t *rapid.T) {
				if w.others() == 0 || w.counts {
					return
				}
				w.activity.InFlight--
				w.activity.Progress++
				w.activity.Failed++
				w.activity.Errors++
				w.activity.ErrorsInRow++
				if w.others() == 0 {
					w.idleSince = w.now
				}
				w.step(Event{Kind: RequestFailed, Reason: dynmesh.ReasonStatus, Sampled: true, Activity: w.activity})
			},
			"the engine steps": func(*rapid.T) { w.activity.Steps++; w.moves = w.now },
			"doubt": func(t *rapid.T) {
				w.activity.StaleGauges = w.activity.InFlight > 0 && rapid.Bool().Draw(t, "doubtful")
			},
			"maintenance": func(t *rapid.T) {
				if rapid.IntRange(0, 5).Draw(t, "really") == 0 {
					w.step(Event{Kind: Maintained, Until: w.now + time.Duration(rapid.IntRange(0, 100).Draw(t, "s"))*time.Second})
				}
			},
		})
	})
}
