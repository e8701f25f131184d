package canary

import "github.com/dynmesh/dynmesh"

// sample takes in what real requests have done since the last look.
func (p policy) sample(s *schedule, a Activity, now instant) {
	evidence, moving := a.evidence(), a.moving()
	own := s.counted && (s.phase != resting || now < s.settled)
	s.stuck = min(s.stuck, moving)
	moving -= s.stuck
	if own && moving > 0 {
		moving-- // the canary
	}

	// Counters that went back are those of an engine that began again: no proof. Neither is what a canary may have moved.
	switch {
	case evidence > s.evidence && !own:
		p.traffic(s, now)
	case moving == 0 && s.moving > 0:
		// All have left without a sign of life. Nothing is in a canary's way now, and it may be overdue.
		if s.ready {
			s.due = min(s.due, max(now, s.last+p.wait, s.sent+p.wait))
		}
		s.stalled = s.stalled && s.checked
	}
	if a.Errors > s.errors && evidence <= s.evidence {
		s.failing = true
	}
	if moving > 0 && s.moving == 0 && s.since <= s.last {
		s.since = now // and stays, when impatient requests come and go: only proof begins it anew
	}
	s.evidence, s.errors, s.moving, s.doubtful = evidence, a.Errors, moving, a.Doubtful
	if moving > 0 && s.phase == running {
		s.contended = true
	}
}

// traffic is the proof that a real request brings: a chunk, or a whole answer.
func (p policy) traffic(s *schedule, now instant) {
	s.proven(now)
	s.ready = !s.draining
	s.finding, s.reason = dynmesh.Busy, ""
	s.due = now + jitter(&s.seed, p.wait)
	s.drop()
}

// proven forgets what spoke against the endpoint.
func (s *schedule) proven(now instant) {
	s.last = now
	s.failures, s.rechecks = 0, 0
	s.stalled, s.failing = false, false
}

// hint brings the next canary forward where the last one failed. It is no proof, and changes nothing else.
func (s *schedule) hint(now instant) {
	if s.finding != dynmesh.Fail || s.ready {
		return
	}
	s.rechecks = 0
	if s.phase == resting { // the end of one under way sets the time of the next, soon
		s.due = min(s.due, now)
	}
}

// drop gives up the canary under way: its result is of no use any more.
func (s *schedule) drop() {
	if s.phase == running || s.phase == expired {
		s.phase, s.told = dropped, never // advance tells it
	}
}

// answer takes in a canary's result.
func (p policy) answer(s *schedule, e event, now instant, do *actions) {
	if s.phase == resting || e.generation != s.canary {
		return // of a canary that is not under way: nothing sends such
	}
	was := s.phase
	s.phase, s.settled = resting, now+settle
	if was == dropped || was == lost {
		do.outcome = discarded // a lost one was judged when it did not end
		return
	}
	p.judge(s, e.reason, now, do)
}

// judge draws the conclusion from a canary of this generation.
func (p policy) judge(s *schedule, r dynmesh.Reason, now instant, do *actions) {
	switch {
	case r == "":
		p.succeed(s, now, do)
	case isLate(r) && s.contended && now < p.stallAt(*s):
		// It stood in line behind real requests, and they are within their budget: busy, not dead.
		do.outcome = discarded
		if s.ready {
			s.finding, s.reason = dynmesh.Busy, ""
			s.due = now + jitter(&s.seed, p.wait)
		} else {
			p.pause(s, now)
		}
	default:
		p.fail(s, r, now, do)
	}
}

// isLate says whether time alone was the failure: the endpoint may have had better things to do.
func isLate(r dynmesh.Reason) bool { return r == dynmesh.ReasonTimeout || r == dynmesh.ReasonFrozen }

func (p policy) succeed(s *schedule, now instant, do *actions) {
	do.outcome = passed
	if s.stalled {
		s.stuck += s.moving // they hang, but the endpoint does not: they no longer count as its activity
		s.moving = 0
	}
	s.proven(now)
	s.successes = min(s.successes+1, p.successes)
	s.ready = s.ready || s.successes >= p.successes
	s.finding, s.reason = dynmesh.Pass, ""
	s.due = now + jitter(&s.seed, p.wait)
}

func (p policy) fail(s *schedule, r dynmesh.Reason, now instant, do *actions) {
	do.outcome, do.reason = failed, r
	s.successes = 0
	s.failures = min(s.failures+1, p.failures)
	s.ready = s.ready && s.failures < p.failures
	if !s.stalled || !isLate(r) { // what a stall does to a canary is no news
		s.finding, s.reason = dynmesh.Fail, r
	}
	p.pause(s, now)
}

// pause sets the time of the next canary after one that brought nothing good.
func (p policy) pause(s *schedule, now instant) {
	s.due = now + jitter(&s.seed, p.after(s.rechecks))
	s.rechecks = min(s.rechecks+1, 32)
}
