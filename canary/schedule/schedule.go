package schedule

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// Grace is how long a canary may take to end once it was told to. A probe that needs longer ignores
// its context.
const Grace = 250 * time.Millisecond

// echoTime is how old an activity that counts canaries may be: for that long after a canary,
// progress may be its.
const echoTime = 2 * time.Second

// Policy is what the schedules of one monitor have in common. See canary.Config for what the fields
// mean.
type Policy struct {
	Wait, Timeout, Recheck             time.Duration
	Stall                              time.Duration // 0: learned
	StartTimeout                       time.Duration // where it is more than Timeout
	FailureThreshold, SuccessThreshold uint16
}

// Step is the whole of the schedule: what was, and what happens, to what is, and what to do.
func (p Policy) Step(s State, e Event, now Instant) (State, Actions) {
	was, a := s, Actions{}
	if e.Kind == Ended && e.Reason == "" && e.Took > p.deadline(&s)-s.run.extra-s.run.sent {
		e.Reason = dynmesh.ReasonTimeout // nobody came to cut it off in time
	}
	// A canary that counts and passed says more than what went on beside it, which would only have
	// it superseded.
	passed := e.Kind == Ended && e.Reason == "" && !e.Unasked && s.run.counts()
	if e.Sampled && s.served && e.Kind != Served && !passed {
		p.observe(&s, e.Activity, now)
	}
	switch e.Kind {
	case RequestFailed:
		s.traffic.reason = e.Reason
	case Suspected:
		p.suspect(&s, e.Reason, now, &a)
	case Served:
		s = begin(s, e, now)
	case Ended:
		p.end(&s, e, now, &a)
	case Drained:
		s.Draining, s.Ready = true, false
		s.run.supersede()
	case Maintained:
		s.until = e.Until
	case Nudged:
		s.nudge(now)
	case Loading:
		if s.run.phase == running && e.Generation == s.run.generation {
			s.run.timeout = max(s.run.timeout, p.StartTimeout)
		}
	case Tick: // the sample, and what is due
	}
	p.advance(&s, now, e.Full, &a)
	a.Changed = s.Ready != was.Ready || s.Finding != was.Finding || s.Reason != was.Reason ||
		s.Draining != was.Draining || s.Generation != was.Generation
	a.Overdue = s.run.overdue(now)
	a.Wake = p.wake(s, now)
	return s, a
}

// begin makes the State of an endpoint that is served, for the first time or anew. What an earlier
// registration's canary will say is not about this one; it must have ended before the first canary
// of this one goes out.
func begin(s State, e Event, now Instant) State {
	s.run.supersede()
	s.run.raced = false
	return State{
		Generation: s.Generation + 1, Ready: !e.HasProbe, Finding: dynmesh.Unchecked,
		seed: e.Seed, served: true, hasProbe: e.HasProbe, starting: true,
		run: s.run, traffic: newTraffic(e.Activity, e.CountsProbes, s.traffic.echoUntil, now),
		due: now, until: s.until,
	}
}

// observe takes in what real requests have done since the last sample.
func (p Policy) observe(s *State, a Activity, now Instant) {
	b := beside{s.run.phase != idle, s.run.isSteady(now), s.Ready && !s.traffic.stalled, p.still(s)}
	switch s.traffic.observe(a, b, now) {
	case proof:
		s.failures, s.rechecks, s.starting, s.rejected = 0, 0, false, false
		s.Ready = !s.Draining
		s.Finding, s.Reason = dynmesh.Busy, ""
		s.due = now + jitter(&s.seed, p.Wait)
		s.run.supersede()
	case emptied:
		// Nothing is in a canary's way now, and it may be overdue.
		if s.Ready {
			s.due = min(s.due, max(now, s.traffic.last+p.Wait, s.run.sent+p.Wait))
		}
	}
	if !s.hasProbe && s.traffic.inFlight == 0 { // who gave up is no debt where nobody can ask
		s.traffic.waiting, s.traffic.stalled = false, false
	}
	if s.run.phase == running {
		s.run.raced = s.run.raced || s.traffic.inFlight > 0
		if s.run.stepped == 0 && s.traffic.counters > s.run.sent {
			s.run.stepped = s.traffic.counters
		}
	}
}

// nudge brings the next canary forward where the last one failed. It is no proof, and changes
// nothing else.
func (s *State) nudge(now Instant) {
	if s.Finding != dynmesh.Fail || s.Ready {
		return
	}
	s.rechecks = 0
	if s.run.phase == idle { // the end of one under way sets the time of the next, soon
		s.due = min(s.due, now)
	}
}

// end takes in a canary's result.
func (p Policy) end(s *State, e Event, now Instant, a *Actions) {
	if s.run.phase == idle || e.Generation != s.run.generation {
		return // of a canary that is not under way: nothing sends such
	}
	counts := s.run.counts() // a leaked one was judged when it did not end
	s.run.phase, s.traffic.echoUntil = idle, now+echoTime
	switch {
	case !counts:
		a.Outcome = Discarded
	case e.Unasked:
		p.leaveAlone(s, now, a)
	default:
		p.judge(s, e.Reason, now, a)
	}
}

// leaveAlone takes in that an endpoint must not be asked, and serves all the same.
func (p Policy) leaveAlone(s *State, now Instant, a *Actions) {
	a.Outcome = Discarded
	s.due = now + jitter(&s.seed, p.Wait)
	if s.traffic.stalled {
		return // requests show more than the endpoint's word
	}
	s.traffic.stepped = now // what waits, waits for it to wake
	s.Ready, s.failures, s.rechecks = true, 0, 0
	s.Finding, s.Reason = dynmesh.Unchecked, ""
}

// judge draws the conclusion from a canary of this generation.
func (p Policy) judge(s *State, r dynmesh.Reason, now Instant, a *Actions) {
	if IsLate(r) {
		s.lateAt = now
	}
	switch {
	case r == "":
		p.succeed(s, now, a)
	case r == dynmesh.ReasonBusy, IsLate(r) && p.standsInLine(s, now):
		// It was refused for want of room, or stood in line: busy, not dead.
		a.Outcome = Discarded
		if s.Ready {
			s.Finding, s.Reason = dynmesh.Busy, ""
			s.due = now + jitter(&s.seed, p.Wait)
		} else {
			p.pause(s, now)
		}
	default:
		p.fail(s, r, now, a)
	}
}

// IsLate says whether time alone was the failure: the endpoint may have had better things to do.
func IsLate(r dynmesh.Reason) bool { return r == dynmesh.ReasonTimeout || r == dynmesh.ReasonFrozen }

func (p Policy) succeed(s *State, now Instant, a *Actions) {
	a.Outcome = Passed
	if s.traffic.stalled || p.isInDoubt(s, now) {
		s.traffic.ignoreHanging()
	}
	suspicious := s.traffic.failing
	s.traffic.firstsAt = 0
	s.traffic.succeeded(now)
	s.rechecks, s.starting = 0, false
	s.due = now + jitter(&s.seed, p.Wait)
	if p.holds(s, now) {
		s.due = max(now+p.Recheck, s.traffic.errorAt+p.Wait)
		return
	}
	s.traffic.rowFrom = s.traffic.errorsInRow
	s.failures, s.rejected = 0, false
	s.successes = min(s.successes+1, p.SuccessThreshold)
	s.Ready = s.Ready || s.successes >= p.SuccessThreshold
	s.Finding, s.Reason = dynmesh.Pass, ""
	switch {
	case s.suspectedAt > s.run.sent: // what it answered may be of before
		s.traffic.failing, s.suspectedAt = true, 0
		s.due = min(s.due, p.soon(s, now))
	case suspicious:
		s.signs = min(s.signs+1, 32)
	default:
		s.signs = 0
	}
}

func (p Policy) fail(s *State, r dynmesh.Reason, now Instant, a *Actions) {
	a.Outcome, a.Reason = Failed, r
	s.successes = 0
	s.starting = s.starting || r == dynmesh.ReasonRefused || r == dynmesh.ReasonUnreachable
	s.failures = min(s.failures+1, p.FailureThreshold)
	s.Ready = s.Ready && s.failures < p.FailureThreshold
	if !s.traffic.stalled || !IsLate(r) { // what a stall does to a canary is no news
		s.Finding, s.Reason = dynmesh.Fail, r
	}
	p.pause(s, now)
}

// pause sets the time of the next canary after one that brought nothing good.
func (p Policy) pause(s *State, now Instant) {
	s.due = now + jitter(&s.seed, p.backoff(s.rechecks))
	s.rechecks = min(s.rechecks+1, 32)
}

// advance does what is due at now.
func (p Policy) advance(s *State, now Instant, full bool, a *Actions) {
	if s.run.enforce(p.deadline(s), s.Draining, now, a) {
		p.judge(s, dynmesh.ReasonTimeout, now, a)
	}
	if !s.served || s.Draining {
		return
	}
	p.reject(s, now, a)
	p.doubt(s, now, a)
	if now < s.due {
		return
	}
	switch {
	case !s.hasProbe && s.traffic.inFlight > 0:
		s.due = now + jitter(&s.seed, p.Wait)
	case !s.hasProbe:
		s.Finding, s.Reason = dynmesh.Unchecked, "" // nobody uses it, and nobody can ask
		s.traffic.last, s.due = now, Never
	case s.run.counts():
		// One at a time. Its end sets the time of the next.
	case s.Ready && s.traffic.keepsProbesAway() && !p.isInDoubt(s, now):
		a.Skipped = true
		s.Finding, s.Reason = dynmesh.Busy, ""
		s.due = now + jitter(&s.seed, p.Wait)
	case s.run.phase != idle:
		if s.run.overdue(now) {
			p.fail(s, dynmesh.ReasonTimeout, now, a) // the last one still hangs in the endpoint
		}
	case now < s.until:
		s.due = s.until // maintenance: whoever works on the engine has no use for requests
	case full:
		s.due = now + p.Timeout/4
	default:
		a.Send = true
		timeout := p.Timeout
		if s.starting {
			timeout = max(timeout, p.StartTimeout)
		}
		s.run.start(s.Generation, now, timeout, s.traffic.inFlight > 0)
		s.due = Never
	}
}

// deadline is when the canary under way must be done. Maintenance stops its clock.
func (p Policy) deadline(s *State) Instant {
	return max(s.run.sent, s.until) + s.run.timeout + s.run.extra
}

// wake is when time alone changes something.
func (p Policy) wake(s State, now Instant) Instant {
	switch {
	case s.Draining && s.run.phase == superseded:
		return s.run.cancelledAt + Grace
	case !s.served || s.Draining:
		return Never
	}
	at := s.due
	switch s.run.phase {
	case idle:
	case running:
		at = p.deadline(&s)
	case timedOut:
		at = s.run.cancelledAt + Grace
	case superseded, leaked:
		at = max(s.due, s.run.cancelledAt+Grace)
	}
	if reject := p.rejectAt(&s); reject > now {
		at = min(at, reject)
	}
	return min(at, p.nextDoubt(&s, now))
}

// backoff is the pause before the nth check that follows failures, from 0: Recheck, doubled each
// time, up to Wait.
func (p Policy) backoff(n uint8) time.Duration {
	d := p.Recheck
	for ; n > 0 && d < p.Wait; n-- {
		d *= 2
	}
	return min(d, p.Wait)
}

// jitter spreads d by 10 % to either side. The seed is the State's, so that the same history gives
// the same times.
func jitter(seed *uint32, d time.Duration) time.Duration {
	// Numerical Recipes' generator: its upper bits are good enough to spread timers.
	*seed = *seed*1664525 + 1013904223
	part := float64(*seed>>8)/(1<<23) - 1
	return d + time.Duration(part*float64(d)/10)
}
