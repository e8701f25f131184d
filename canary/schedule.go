package canary

import "github.com/dynmesh/dynmesh"

// schedule is all that is remembered of one endpoint to decide when to ask it, and whether it is ready. It is a value:
// step takes one and returns the next, looks at no clock, and does nothing but say what is to be done.
type schedule struct {
	generation uint32 // grows each time the endpoint is registered; a canary carries the one it was sent in
	seed       uint32 // of the jitter

	served   bool
	checked  bool // there is a probe
	counted  bool // the activity counts canaries as well
	draining bool

	ready   bool
	finding dynmesh.Finding
	reason  dynmesh.Reason

	failures  uint16 // canaries that failed in a row
	successes uint16
	rechecks  uint8 // pauses since the last success

	// The canary under way. There is none exactly while phase is resting.
	phase     phase
	canary    uint32 // the generation it was sent in
	sent      instant
	told      instant // when it was told to end
	contended bool    // real requests were in flight beside it
	settled   instant // counted only: until then, the last canary may still show in the activity

	// Real requests.
	evidence uint64 // counters at the last sample
	errors   uint64
	moving   uint64  // in flight, and expected to move
	doubtful bool    // and may be gone
	stuck    uint64  // of those in flight, the ones that hang although the endpoint answers others
	since    instant // when moving first rose from 0 after last
	last     instant // when something last proved that the endpoint works, or when it was registered
	stalled  bool
	failing  bool // requests have failed, and none has succeeded, since last

	due   instant // when the next canary goes out
	until instant // when maintenance ends; in the past, it is over
}

// phase is how far the canary under way is.
type phase uint8

const (
	resting phase = iota // there is none
	running
	expired // its deadline has passed: it was told to end, and its result counts
	dropped // it was told to end, and its result does not count
	lost    // it was told to end and did not; where it counts, it has been counted as a failure
)

// kind is what happened.
type kind uint8

const (
	registered  kind = iota // the endpoint is served, for the first time or anew
	tick                    // time has passed, or its activity has changed
	answered                // a canary has ended
	drained                 // the endpoint takes no more requests
	maintaining             // maintenance begins, is prolonged, or ends
	hinted                  // whoever failed may work again
)

// event is one thing that happened. Each may bring a sample of the activity.
type event struct {
	kind             kind
	fresh            bool // there is a sample
	activity         Activity
	checked, counted bool           // registered
	seed             uint32         // registered
	generation       uint32         // answered: that of the canary
	reason           dynmesh.Reason // answered: "" is a pass
	until            instant        // maintaining: the moment of its end
	full             bool           // no more canaries can be sent now
}

// actions is what is to be done after a step.
type actions struct {
	send    bool    // send a canary of the schedule's generation
	cut     bool    // end the one under way
	late    bool    // with cut: because its deadline has passed
	skipped bool    // a canary was due, and real requests made it needless
	stalled bool    // the endpoint has just been found stalled
	changed bool    // what is said of the endpoint
	wake    instant // step again then, or sooner; never is possible

	outcome outcome        // of a canary
	reason  dynmesh.Reason // why it failed
}

// outcome is what a canary's end means.
type outcome uint8

const (
	undecided outcome = iota // none has ended
	passed
	failed
	discarded // it ended, and says nothing of the endpoint
)

// step is the whole of the schedule: what was, and what happens, to what is, and what to do.
func (p policy) step(s schedule, e event, now instant) (schedule, actions) {
	was, a := s, actions{}
	// A canary that counts and passed says more than what went on beside it, which would only have it dropped.
	good := e.kind == answered && e.reason == "" && (s.phase == running || s.phase == expired)
	if e.fresh && s.served && e.kind != registered && !good {
		p.sample(&s, e.activity, now)
	}
	switch e.kind {
	case registered:
		s = register(s, e, now)
	case answered:
		p.answer(&s, e, now, &a)
	case drained:
		s.draining, s.ready = true, false
		s.drop()
	case maintaining:
		s.until = e.until
	case hinted:
		s.hint(now)
	case tick: // the sample, and what is due
	}
	p.advance(&s, now, e.full, &a)
	a.changed = s.ready != was.ready || s.finding != was.finding || s.reason != was.reason ||
		s.draining != was.draining || s.generation != was.generation
	a.wake = p.wake(s)
	return s, a
}

// register begins anew. What an earlier registration's canary will say is not about this one; it must have ended before
// the first canary of this one goes out.
func register(s schedule, e event, now instant) schedule {
	s.drop()
	return schedule{
		generation: s.generation + 1, seed: e.seed,
		served: true, checked: e.checked, counted: e.counted,
		ready: !e.checked, finding: dynmesh.Unchecked,
		phase: s.phase, canary: s.canary, sent: s.sent, told: s.told, settled: s.settled,
		evidence: e.activity.evidence(), errors: e.activity.Errors,
		moving: e.activity.moving(), doubtful: e.activity.Doubtful, since: now, last: now,
		due: now, until: s.until,
	}
}
