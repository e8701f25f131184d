package schedule

import (
	"cmp"
	"time"

	"github.com/dynmesh/dynmesh"
)

// traffic is what is remembered of real requests.
type traffic struct {
	evidence    uint64 // counters at the last sample
	errors      uint64
	errorsInRow uint64
	unanswered  uint64 // requests that their clients left, or that were bad
	steps       uint64
	engine      uint64 // requests that the engine knows of
	inFlight    uint64 // and expected to move
	staleGauges bool   // those in flight may be gone
	ignored     uint64 // of those in flight, the ones that hang although the endpoint answers others
	sized       bool   // it is known how large those are that were answered
	larger      bool   // one in flight is larger than any of those

	further  uint64        // evidence without first chunks
	firstsAt Instant       // when the first of those came that nothing has followed since, at any request; 0: there is none
	seenAt   Instant       // the last sample
	free     time.Duration // for how long since firstsAt no request has waited for its first chunk
	still    string        // which part of it stands still

	last     Instant // when something last proved that the endpoint works, or when it was registered
	stepped  Instant // when it was last seen to move, by more than a canary, which may prove nothing
	counters Instant // when its counters last moved, by whoever's doing
	waiting  bool    // requests wait, or were left without an answer, and nothing has moved
	since    Instant // when that began
	stalled  bool    // and has lasted for the stall budget
	failing  bool    // requests have failed, and none has succeeded, since last

	errorAt Instant        // when a request was last seen to have failed
	reason  dynmesh.Reason // why
	rowFrom uint64         // what errorsInRow was when a canary spoke for the endpoint

	pace           pace
	stepsInPrefill bool

	countsProbes bool    // the counters are the engine's own: its canaries are in them
	echoUntil    Instant // where countsProbes: until then, the last canary may still show
}

// newTraffic begins with the counters as they are.
func newTraffic(a Activity, countsProbes bool, echoUntil, now Instant) traffic {
	return traffic{
		evidence: a.evidence(), further: a.further(), errors: a.Errors, errorsInRow: a.ErrorsInRow, rowFrom: a.ErrorsInRow, reason: dynmesh.ReasonError, unanswered: a.unanswered(), steps: a.Steps,
		inFlight: a.unblocked(), waiting: a.unblocked() > 0, staleGauges: a.StaleGauges, sized: a.LargestAnswered > 0, larger: a.hasLarger(),
		since: now, last: now, stepped: now, stepsInPrefill: a.StepsInPrefill,
		countsProbes: countsProbes, echoUntil: echoUntil,
	}
}

// change is what a sample brings.
type change uint8

const (
	nothing change = iota
	proof          // a chunk, or a whole answer
	emptied        // all in flight have left without a sign of life
)

// beside is what goes on beside a sample.
type beside struct {
	canary bool // one is under way
	steady bool // the engine has stepped beside it for longer than one that freezes would have it
	works  bool // the endpoint is not known to have failed

	still Instant // since when it has stood still with something to do, maintenance apart
}

// observe takes in a sample. What moves the engine's own counters may be a canary's doing: one that
// gets a token and freezes is no sign of life.
func (t *traffic) observe(a Activity, b beside, now Instant) change {
	moving := b.canary || now < t.echoUntil
	echo := t.countsProbes && moving
	evidence, unanswered := a.evidence(), a.unanswered()
	t.still = cmp.Or(a.Still, t.firstsOnly(a, now))
	// Counters that went back are those of an engine that began again.
	grown, stepped := evidence > t.evidence && t.still == "", a.Steps != t.steps && t.still == ""
	found := nothing
	if grown || stepped {
		t.counters = now
		if grown && !echo || !moving || b.steady {
			t.move(b, now)
		}
	}
	if grown && !echo {
		found = proof
		t.succeeded(now)
		t.ignored = 0 // who hangs and who does not is not known any more
	}
	inFlight := a.unblocked()
	t.ignored = min(t.ignored, inFlight)
	inFlight -= t.ignored
	if echo && inFlight > 0 {
		inFlight-- // the canary
	}
	if found == nothing && inFlight == 0 && t.inFlight > 0 {
		found = emptied
	}
	if a.Errors > t.errors {
		t.errorAt = now
		t.failing = t.failing || !grown
	}
	if a.ErrorsInRow < t.errorsInRow {
		t.rowFrom = 0 // a new row
	}
	if inFlight > 0 || t.still == "" && unanswered > t.unanswered && !grown {
		t.wait(now)
	}
	t.evidence, t.errors, t.errorsInRow, t.unanswered, t.steps = evidence, a.Errors, a.ErrorsInRow, unanswered, a.Steps
	t.inFlight, t.staleGauges, t.engine = inFlight, a.StaleGauges, a.Engine
	t.sized, t.larger, t.stepsInPrefill = a.LargestAnswered > 0, a.hasLarger(), a.StepsInPrefill
	return found
}

// First chunks alone are a sign of life for firstsProve: an engine that gets no further answers
// nobody. The time in which requests wait for their first chunk does not count, for so long at
// most: an engine may read all prompts that wait before it writes on.
const (
	firstsProve   = 3 * time.Second
	prefillsProve = 30 * time.Second
)

// firstsOnly says that nothing but first chunks has come for too long. An engine whose own steps
// show what it does in a prefill is believed about that.
func (t *traffic) firstsOnly(a Activity, now Instant) (still string) {
	further := a.further()
	switch {
	case further != t.further || a.InFlight == 0:
		t.firstsAt = 0
	case a.evidence() > t.evidence && t.firstsAt == 0:
		t.firstsAt, t.free = now, 0
	case t.firstsAt != 0 && a.Unbegun == 0:
		t.free += now - t.seenAt
	}
	t.further, t.seenAt = further, now
	if t.firstsAt == 0 || t.free <= firstsProve && now-t.firstsAt <= prefillsProve || a.StepsInPrefill {
		return ""
	}
	return "no answer gets further than its first chunk"
}

// wait begins the time in which something ought to move. Impatient requests that come and go do not
// begin it anew.
func (t *traffic) wait(now Instant) {
	if !t.waiting {
		t.waiting, t.since = true, now
	}
}

// move takes in a step, and learns from how long it took an endpoint that works.
func (t *traffic) move(b beside, now Instant) {
	if b.works {
		gap := time.Duration(0)
		if t.waiting {
			gap = max(now-b.still, 0)
		}
		t.pace.step(gap, now-t.stepped)
	}
	t.stepped, t.waiting = now, false
}

// movedAt is when the endpoint last moved, or got something to do since then.
func (t *traffic) movedAt() Instant {
	at := max(t.last, t.stepped)
	if t.waiting {
		at = max(at, t.since)
	}
	return at
}

// succeeded forgets what spoke against the endpoint: something has just succeeded.
func (t *traffic) succeeded(now Instant) {
	t.last = now
	t.waiting, t.stalled, t.failing = false, false, false
}

// ignoreHanging leaves the requests in flight out of account: a canary has passed beside them when
// they were in doubt, so it is they that hang, and not the endpoint.
func (t *traffic) ignoreHanging() {
	t.ignored += t.inFlight
	t.inFlight = 0
}

// row is how many requests have failed in a row since anything last succeeded.
func (t *traffic) row() uint64 { return t.errorsInRow - min(t.rowFrom, t.errorsInRow) }

// keepsProbesAway says whether those in flight vouch for the endpoint, so that a canary is
// needless.
func (t *traffic) keepsProbesAway() bool { return t.inFlight > 0 && !t.failing && !t.staleGauges }
