package schedule

// traffic is what is remembered of real requests.
type traffic struct {
	evidence    uint64 // counters at the last sample
	errors      uint64
	inFlight    uint64 // and expected to move
	staleGauges bool   // those in flight may be gone
	ignored     uint64 // of those in flight, the ones that hang although the endpoint answers others

	since   Instant // when inFlight first rose from 0 after last
	last    Instant // when something last proved that the endpoint works, or when it was registered
	stalled bool    // inFlight > 0, and nothing has moved for the stall budget
	failing bool    // requests have failed, and none has succeeded, since last

	countsProbes bool    // the counters are the engine's own: its canaries are in them
	echoUntil    Instant // where countsProbes: until then, the last canary may still show
}

// newTraffic begins with the counters as they are.
func newTraffic(a Activity, countsProbes bool, echoUntil, now Instant) traffic {
	return traffic{
		evidence: a.evidence(), errors: a.Errors, inFlight: a.unblocked(), staleGauges: a.StaleGauges,
		since: now, last: now, countsProbes: countsProbes, echoUntil: echoUntil,
	}
}

// change is what a sample brings.
type change uint8

const (
	nothing change = iota
	proof          // a chunk, or a whole answer
	emptied        // all in flight have left without a sign of life
)

// observe takes in a sample. probing says that a canary is under way.
func (t *traffic) observe(a Activity, probing bool, now Instant) change {
	echo := t.countsProbes && (probing || now < t.echoUntil) // what moves may be a canary's doing
	evidence, inFlight := a.evidence(), a.unblocked()
	t.ignored = min(t.ignored, inFlight)
	inFlight -= t.ignored
	if echo && inFlight > 0 {
		inFlight-- // the canary
	}
	found := nothing
	switch {
	case evidence > t.evidence && !echo: // counters that went back are those of an engine that began again
		found = proof
		t.succeeded(now)
	case inFlight == 0 && t.inFlight > 0:
		found = emptied
	}
	if a.Errors > t.errors && evidence <= t.evidence {
		t.failing = true
	}
	if inFlight > 0 && t.inFlight == 0 && t.since <= t.last {
		t.since = now // and stays, when impatient requests come and go: only proof begins it anew
	}
	t.evidence, t.errors, t.inFlight, t.staleGauges = evidence, a.Errors, inFlight, a.StaleGauges
	return found
}

// succeeded forgets what spoke against the endpoint: something has just succeeded.
func (t *traffic) succeeded(now Instant) {
	t.last = now
	t.stalled, t.failing = false, false
}

// ignoreStalled leaves the requests that hang out of account: a canary has passed beside them, so
// it is they that hang, and not the endpoint.
func (t *traffic) ignoreStalled() {
	if t.stalled {
		t.ignored += t.inFlight
		t.inFlight = 0
	}
}

// keepsProbesAway says whether those in flight vouch for the endpoint, so that a canary is
// needless.
func (t *traffic) keepsProbesAway() bool { return t.inFlight > 0 && !t.failing && !t.staleGauges }
