package schedule

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// A stall is found in two steps:
//
//	something waits, and nothing moves
//	doubtAt   a canary goes out, whatever is in flight: the second opinion
//	stallAt   the budget is used up. The canary was late, too: the endpoint is stalled
//	lastCall  no canary could be sent: it is stalled all the same
//
// A canary that passes ends the doubt: it is the requests that hang, and not the endpoint.

// Budget is how long the endpoint may stand still while something waits.
func (p Policy) Budget(s State) time.Duration { return p.budget(&s) }

// Still is how long the endpoint has stood still with something to do.
func (p Policy) Still(s State, now Instant) time.Duration {
	if !s.traffic.waiting {
		return 0
	}
	return now - p.still(&s)
}

func (p Policy) budget(s *State) time.Duration {
	if p.Stall > 0 {
		return p.Stall
	}
	t := &s.traffic
	return t.pace.budget(t.stepsInPrefill, t.larger || !t.sized && !t.stepsInPrefill)
}

// still is since when the endpoint has stood still with something to do. Maintenance stops this
// clock, too.
func (p Policy) still(s *State) Instant { return max(s.traffic.movedAt(), s.until) }

func (p Policy) stallAt(s *State) Instant { return p.still(s) + p.budget(s) }

// doubtAt leaves the canary its time before the budget ends, where the budget is long enough.
func (p Policy) doubtAt(s *State) Instant {
	b := p.budget(s)
	return p.still(s) + max(b/2, b-p.Timeout)
}

// lastCall waits for a canary that has more time.
func (p Policy) lastCall(s *State) Instant {
	at := p.stallAt(s) + p.Timeout
	if s.run.counts() {
		at = max(at, p.deadline(s))
	}
	return at + Grace
}

// isInDoubt says whether a canary is wanted although requests are in flight.
func (p Policy) isInDoubt(s *State, now Instant) bool {
	return s.traffic.waiting && !s.traffic.stalled && now >= p.doubtAt(s)
}

// doubt has a canary sent or the endpoint found stalled, where it is time.
func (p Policy) doubt(s *State, now Instant, a *Actions) {
	if !p.isInDoubt(s, now) {
		return
	}
	asked := s.lateAt >= p.doubtAt(s) // and what was asked has had no answer
	switch {
	case now >= p.stallAt(s) && (asked || !s.hasProbe || now >= p.lastCall(s)):
		s.traffic.stalled, a.Stalled = true, true
		s.Finding, s.Reason = dynmesh.Stalled, ""
		if s.hasProbe {
			s.Ready = false
			s.due = min(s.due, now+p.Recheck)
		}
	case s.hasProbe && !asked && s.run.sent < p.doubtAt(s):
		s.due = min(s.due, now)
	}
}

// nextDoubt is when time alone takes a stall a step further.
func (p Policy) nextDoubt(s *State, now Instant) Instant {
	if !s.traffic.waiting || s.traffic.stalled {
		return Never
	}
	for _, at := range [...]Instant{p.doubtAt(s), p.stallAt(s), p.lastCall(s)} {
		if at > now {
			return at
		}
	}
	return Never
}

// standsInLine says whether a canary that is late may have stood in line behind real requests:
// those that were in flight beside it, within their budget; or those that others sent past this
// worker. The engine tells of those, and steps meanwhile; or it was seen to step for half the
// canary's time and until shortly before its end. A canary that freezes after its first token steps
// once.
func (p Policy) standsInLine(s *State, now Instant) bool {
	if s.run.raced && now < p.stallAt(s) {
		return true
	}
	first, last, half := s.run.stepped, s.traffic.counters, s.run.timeout/2
	if first > 0 && s.traffic.engine > 1 && now < p.stallAt(s) {
		return true
	}
	return first > 0 && last-first >= half && now-last <= half
}
