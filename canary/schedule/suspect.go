package schedule

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

const (
	// rowOfErrors is how many real requests must fail in a row to make the endpoint not ready.
	rowOfErrors = 3

	// rowTime must have passed since something succeeded. Where a thousand requests a second pass
	// and some of them fail by themselves, three in a row are a matter of seconds.
	rowTime = 500 * time.Millisecond
)

// suspect takes in a sign that the endpoint does not work. Where nobody listens, or the engine says
// that it is dead, a canary would find no more, so it counts like one. Otherwise one goes out at
// once, and so it does where one has passed after the engine had called itself dead.
func (p Policy) suspect(s *State, r dynmesh.Reason, now Instant, a *Actions) {
	if !s.served || s.Draining || !s.hasProbe || !s.Ready {
		return
	}
	s.traffic.failing = true // what is in flight keeps no canary away
	known := r == dynmesh.ReasonRefused || r == dynmesh.ReasonDead && s.signs == 0
	switch {
	case known && s.failures > 0 && now < s.due:
		// It has counted already. The next check is on its way.
	case known:
		s.run.supersede()
		p.fail(s, r, now, a)
	case s.run.counts():
		s.suspectedAt = now // its pass may be of before
	default:
		s.due = min(s.due, p.soon(s, now))
	}
}

// soon is when the next canary may go out by a sign. Signs that canaries do not confirm lose their
// weight.
func (p Policy) soon(s *State, now Instant) Instant {
	return max(now, s.run.sent+p.backoff(s.signs))
}

// reject makes the endpoint not ready where real requests fail, whatever canaries say.
func (p Policy) reject(s *State, now Instant, a *Actions) {
	if now < p.rejectAt(s) {
		return
	}
	s.Ready, s.rejected = false, true
	s.failures, s.successes, s.rechecks = p.FailureThreshold, 0, 0
	s.Finding, s.Reason = dynmesh.Fail, s.traffic.reason
	s.run.supersede()
	p.pause(s, now)
	a.Rejected = true
}

// rejectAt is when requests that fail make the endpoint not ready, if none succeeds until then.
func (p Policy) rejectAt(s *State) Instant {
	if !s.Ready || !s.hasProbe || s.traffic.row() < rowOfErrors {
		return Never
	}
	return s.traffic.last + rowTime
}

// holds says whether a canary that passed is not enough, because real requests failed not long ago.
// Who was gone and answers is back.
func (p Policy) holds(s *State, now Instant) bool {
	return s.rejected && s.traffic.reason != dynmesh.ReasonRefused && now < s.traffic.errorAt+p.Wait
}
