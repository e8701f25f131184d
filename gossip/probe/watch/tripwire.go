package watch

import "time"

// tripwire is the idle connection. It is opened again after it was closed, ever more slowly where
// it does not hold: whoever closes it at once does so again.
type tripwire struct {
	state tripwireState
	since time.Duration // when it was opened
	at    time.Duration // when it may be opened next
	pause time.Duration
}

type tripwireState uint8

const (
	down tripwireState = iota
	opening
	up
)

// due is when it is to be opened.
func (t *tripwire) due() time.Duration {
	if t.state == down {
		return t.at
	}
	return never
}

// open reports whether to open it now.
func (t *tripwire) open(now time.Duration) bool {
	if now < t.due() {
		return false
	}
	t.state = opening
	return true
}

// opened reports whether it was refused: then nothing listens there.
func (t *tripwire) opened(o Outcome, now time.Duration, j *jitter) (refused bool) {
	if t.state != opening {
		return false // it was given up meanwhile
	}
	if o == Accepted {
		t.state, t.since = up, now
		return false
	}
	t.state = down
	t.backOff(now, j)
	return o == Refused
}

// closed reports whether it was one that held until now.
func (t *tripwire) closed(now time.Duration, j *jitter) bool {
	if t.state != up {
		return false
	}
	t.state = down
	if now-t.since >= shortLived {
		t.pause = 0
	}
	t.backOff(now, j)
	return true
}

// close gives it up, and reports whether there is something to close.
func (t *tripwire) close() bool {
	was := t.state
	t.state = down
	return was != down
}

func (t *tripwire) backOff(now time.Duration, j *jitter) {
	t.pause = min(max(2*t.pause, minReopen), maxReopen)
	t.at = now + j.about(t.pause)
}
