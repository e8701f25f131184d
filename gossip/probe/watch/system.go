package watch

import "time"

// System is one watcher's view of the system port of a worker that is no member: whether anything
// answers there, since a process that is stopped answers nothing, while its kernel goes on
// accepting connections. It is a value, as a [Foreign] is.
//
// Silence is a finding only where this watch has had an answer before: what never answered may be
// something else.
type System struct {
	jitter   jitter
	at       time.Duration // when to ask next whether it answers
	statusAt time.Duration // when to ask next what it says
	asking   bool          // whether it answers
	reading  bool          // what it says
	answered bool          // ever
	frozen   bool
}

// SystemAsks is what to ask a system port.
type SystemAsks struct {
	Ask     bool // whether it answers
	Read    bool // what it says
	Changed bool // Frozen or Answered
	Wake    time.Duration
}

// SystemPeriod is the time from one question to a system port to the next, where there are few.
// With SystemTimeout it is how long a worker may have been frozen before that is said.
const (
	SystemPeriod  = time.Second
	SystemHedge   = 600 * time.Millisecond // after which the question is asked on another connection, too
	SystemTimeout = 1500 * time.Millisecond
	StatusTimeout = 5 * time.Second
)

// NewSystem returns a watch, which must be stepped at once.
func NewSystem(seed uint64, now time.Duration) System {
	s := System{jitter: jitter(Mix(seed))}
	s.at = now + s.jitter.within(SystemPeriod)
	s.statusAt = s.at
	return s
}

// Step takes an event, SystemAsked or SystemRead, or Tick. period is the time from one question to
// the next.
func (s System) Step(e Event, period, now time.Duration) (System, SystemAsks) {
	frozen, answered := s.frozen, s.answered
	switch {
	case e.Kind == SystemAsked && s.asking:
		s.asking, s.at = false, now+s.jitter.about(period)
		switch {
		case e.Outcome == Accepted:
			s.answered, s.frozen = true, false
		case e.Outcome == TimedOut:
			s.frozen = s.frozen || s.answered && !e.Unhealthy
		case e.Outcome == Unreachable && s.frozen: // its kernel has no room for more whom nobody takes
		case e.Outcome != Void: // there is no such port any more, and so nobody who is silent
			s.answered, s.frozen = false, false
		}
	case e.Kind == SystemRead && s.reading:
		s.reading, s.statusAt = false, now+s.jitter.about(statusEvery*period)
	}
	var a SystemAsks
	if !s.asking && now >= s.at {
		s.asking, a.Ask = true, true
	}
	if !s.reading && s.answered && !s.frozen && now >= s.statusAt {
		s.reading, a.Read = true, true
	}
	a.Changed = s.frozen != frozen || s.answered != answered
	a.Wake = s.due()
	return s, a
}

func (s *System) due() time.Duration {
	at := never
	if !s.asking {
		at = s.at
	}
	if !s.reading && s.answered && !s.frozen {
		at = min(at, s.statusAt)
	}
	return at
}

// Answered says whether it answers, as far as is known.
func (s *System) Answered() bool { return s.answered }

// Frozen says that it answered, and now takes connections and answers nothing.
func (s *System) Frozen() bool { return s.frozen }
