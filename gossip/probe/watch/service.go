package watch

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// serviceProbe watches a port of requests: whether it accepts connections.
type serviceProbe struct {
	jitter  jitter
	there   bool
	period  time.Duration
	finding Finding

	at       time.Duration // when the next attempt is due
	next     Attempts      // what it is to be
	trying   Attempts      // the one under way
	moved    bool          // the one under way goes to where the port was before
	repeated bool          // the next attempt repeats a failure
	pause    time.Duration // after a failure
}

func newServiceProbe(seed uint64, there bool, period, first time.Duration) serviceProbe {
	return serviceProbe{jitter: jitter(seed), there: there, period: period, next: Once, at: first}
}

// step takes an event. worthwhile says that connecting can tell something.
func (s *serviceProbe) step(e Event, now time.Duration, worthwhile bool, a *Actions) {
	switch {
	case e.Kind == ServiceDialed && s.trying != None:
		s.dialed(e, now)
	case e.Kind == Readdressed:
		s.readdressed(e.Service, now)
	}
	if worthwhile && now >= s.due() {
		s.trying = s.next
		a.DialService = s.next
	}
}

// recheck has the port tried within that time, and what was found of it forgotten where anew is
// set.
func (s *serviceProbe) recheck(within time.Duration, anew bool, now time.Duration) {
	if anew {
		s.finding = Finding{}
	}
	if s.at > now+within {
		s.schedule(Once, now+within)
	}
}

// due is when the next attempt is.
func (s *serviceProbe) due() time.Duration {
	if !s.there || s.trying != None {
		return never
	}
	return s.at
}

// readdressed keeps what was found of the old port until there is something to be said of the new
// one.
func (s *serviceProbe) readdressed(there bool, now time.Duration) {
	s.there, s.moved = there, s.trying != None
	s.at, s.next, s.repeated = now, Once, false
	if !there {
		s.finding = Finding{}
	}
}

func (s *serviceProbe) dialed(e Event, now time.Duration) {
	tried := s.trying
	s.trying = None
	switch {
	case s.moved:
		s.moved, s.at = false, now
	case e.Outcome == Accepted:
		s.finding = Finding{Finding: dynmesh.Pass}
		s.schedule(Once, now+s.jitter.about(s.period))
	case e.Outcome == Void && tried == Redial:
		s.schedule(Redial, now+s.jitter.about(repeatPause))
	case e.Outcome == Void:
		s.schedule(s.next, now+s.jitter.about(s.period))
	case s.finding.Finding == dynmesh.Fail:
		s.fail(e.Outcome, now)
	case e.Outcome == TimedOut && tried == Once:
		s.schedule(Burst, now)
	case e.Outcome == TimedOut && tried == Redial:
		s.schedule(ShortBurst, now)
	case e.Outcome == Refused && tried == Redial: // two signs of one death
		s.pause = 0
		s.fail(e.Outcome, now)
	case e.Outcome != TimedOut && (tried == Once || tried == Redial) && !s.repeated:
		s.schedule(Once, now+s.jitter.about(repeatPause))
		s.repeated = true
	case e.Outcome != Refused && e.Unhealthy:
		s.finding = Finding{}
		s.schedule(Once, now+s.jitter.about(s.period))
	default:
		s.pause = 0
		s.fail(e.Outcome, now)
	}
}

// schedule sets the next attempt.
func (s *serviceProbe) schedule(e Attempts, at time.Duration) {
	s.next, s.at, s.repeated = e, at, false
}

// fail says that nobody can connect. Where that has been said, only a better reason replaces the
// first.
func (s *serviceProbe) fail(o Outcome, now time.Duration) {
	if s.finding.Finding != dynmesh.Fail || o == Refused {
		s.finding = Finding{dynmesh.Fail, dynmesh.ReasonTimeout, "its port of requests accepts no connection"}
		switch o {
		case Refused:
			s.finding = Finding{dynmesh.Fail, dynmesh.ReasonRefused, "its port of requests refuses connections"}
		case Unreachable:
			s.finding = Finding{dynmesh.Fail, dynmesh.ReasonUnreachable, "there is no way to its port of requests"}
		}
	}
	s.pause = min(max(2*s.pause, minPause), maxPause)
	s.schedule(Once, now+s.jitter.about(s.pause))
}
