package schedule

import "time"

// run is the canary under way. There is none exactly while phase is idle.
type run struct {
	phase       phase
	generation  uint32  // of the registration that it was sent in
	sent        Instant // when the canary went out
	timeout     time.Duration
	extra       time.Duration // beyond it, since nobody looked when the time was over
	cancelledAt Instant       // when it was told to end; Never: it is to be told in this step
	raced       bool          // real requests were in flight beside it
	stepped     Instant       // when the endpoint was first seen to move beside it; 0: it was not
}

// phase is how far a run is.
//
//	idle ─send→ running ─deadline→ timedOut ─Grace→ leaked
//	            running, timedOut ─proof, drain, served anew→ superseded
//	            superseded ─Grace, while draining→ leaked
//	            each of them ─it ends→ idle
type phase uint8

const (
	idle phase = iota // there is none
	running
	timedOut   // its deadline has passed: it was told to end, and its result counts
	superseded // it was told to end, and its result does not count
	leaked     // it was told to end and did not; where it counts, it has been judged a failure
)

// counts says whether the result of the run will count.
func (r *run) counts() bool { return r.phase == running || r.phase == timedOut }

// isSteady says whether the endpoint has been seen to step for half of the run's time.
func (r *run) isSteady(now Instant) bool {
	return r.phase == running && r.stepped > 0 && now-r.stepped >= r.timeout/2
}

// overdue says whether the run should have ended by now: it ignores its context.
func (r *run) overdue(now Instant) bool {
	return r.phase != idle && r.phase != running && now >= r.cancelledAt+Grace
}

// start begins a run.
func (r *run) start(generation uint32, now Instant, timeout time.Duration, raced bool) {
	r.phase, r.generation, r.sent, r.timeout, r.extra, r.raced, r.stepped = running, generation, now, timeout, 0, raced, 0
}

// supersede gives up the run: its result is of no use any more. The same step tells it to end.
func (r *run) supersede() {
	if r.counts() {
		r.phase, r.cancelledAt = superseded, Never
	}
}

// enforce tells the run to end when it must, and gives it up when it does not. leaks says that it
// counts as timed out now, because it has not ended.
func (r *run) enforce(deadline Instant, draining bool, now Instant, a *Actions) (leaks bool) {
	switch {
	case r.phase == running && now >= deadline+Grace && r.extra == 0:
		// This process has not had its turn. Neither has the probe, perhaps, and the answer waits to be
		// read: when it arrived is what counts.
		r.extra = now - deadline + Grace
	case r.phase == running && now >= deadline:
		r.phase, r.cancelledAt = timedOut, now
		a.Cancel, a.Late = true, true
	case r.phase == timedOut && now >= r.cancelledAt+Grace:
		r.phase = leaked
		return true
	case r.phase == superseded && r.cancelledAt == Never:
		r.cancelledAt = now
		a.Cancel = true
	case r.phase == superseded && draining && now >= r.cancelledAt+Grace:
		r.phase = leaked // elsewhere it is found when the next canary is due; here there is none
	}
	return false
}
