package canary

import "github.com/dynmesh/dynmesh"

// advance does what is due at now.
func (p policy) advance(s *schedule, now instant, full bool, do *actions) {
	p.press(s, now, do)
	if !s.served || s.draining {
		return
	}
	if s.moving > 0 && !s.stalled && now >= p.stallAt(*s) {
		s.stalled, do.stalled = true, true
		s.finding, s.reason = dynmesh.Stalled, ""
		if s.checked {
			s.ready = false
			s.due = min(s.due, max(now, s.last+p.wait)) // a canary settles whether the endpoint hangs, or only the requests do
		}
	}
	if now < s.due {
		return
	}
	switch {
	case !s.checked && s.moving > 0:
		s.due = now + jitter(&s.seed, p.wait)
	case !s.checked:
		s.finding, s.reason = dynmesh.Unchecked, "" // nobody uses it, and nobody can ask
		s.last, s.due = now, never
	case s.phase == running || s.phase == expired:
		// One at a time. Its end sets the time of the next.
	case s.moving > 0 && s.ready && !s.failing && !s.doubtful:
		do.skipped = true
		s.finding, s.reason = dynmesh.Busy, ""
		s.due = now + jitter(&s.seed, p.wait)
	case s.phase != resting:
		if now >= s.told+grace {
			p.fail(s, dynmesh.ReasonTimeout, now, do) // the last one still hangs in the endpoint
		}
	case full:
		s.due = now + p.timeout/4
	default:
		do.send = true
		s.phase, s.canary, s.sent, s.contended = running, s.generation, now, s.moving > 0
		s.due = never
	}
}

// press tells the canary under way to end when it must, and gives it up when it does not.
func (p policy) press(s *schedule, now instant, do *actions) {
	switch {
	case s.phase == running && now >= p.deadline(*s):
		s.phase, s.told = expired, now
		do.cut, do.late = true, true
	case s.phase == expired && now >= s.told+grace:
		s.phase = lost
		p.judge(s, dynmesh.ReasonTimeout, now, do)
	case s.phase == dropped && s.told == never:
		s.told = now
		do.cut = true
	case s.phase == dropped && s.draining && now >= s.told+grace:
		s.phase = lost // elsewhere the next canary's turn finds it; here there is none
	}
}

// deadline is when the canary under way must be done. Maintenance stops its clock.
func (p policy) deadline(s schedule) instant { return max(s.sent, s.until) + p.timeout }

// stallAt is when requests in flight, if nothing moves until then, are stalled. Maintenance stops the clock here, too.
func (p policy) stallAt(s schedule) instant { return max(s.last, s.since, s.until) + p.stall }

// wake is when time alone changes something.
func (p policy) wake(s schedule) instant {
	switch {
	case s.draining && s.phase == dropped:
		return s.told + grace
	case !s.served || s.draining:
		return never
	}
	at := s.due
	switch s.phase {
	case resting:
	case running:
		at = p.deadline(s)
	case expired:
		at = s.told + grace
	case dropped, lost:
		at = max(s.due, s.told+grace)
	}
	if s.moving > 0 && !s.stalled {
		at = min(at, p.stallAt(s))
	}
	return at
}
