package swim

import (
	"sync"
	"time"
)

// maxThrottled is how many messages are remembered: the addresses that a lone member tries are ever
// new ones.
const maxThrottled = 256

// Throttle lets each of a few messages pass once a minute. The zero value has let none pass. It is
// safe for concurrent use.
type Throttle struct {
	mu     sync.Mutex
	passed map[string]*throttled
}

type throttled struct {
	at      time.Time
	skipped int
}

// Allow returns how many times the message stands for, or 0 when it is not to be said now.
func (t *Throttle) Allow(message string, now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.passed == nil {
		t.passed = make(map[string]*throttled)
	}
	s := t.passed[message]
	if s == nil {
		for m, other := range t.passed {
			if now.Sub(other.at) >= time.Hour || len(t.passed) >= maxThrottled {
				delete(t.passed, m)
			}
		}
		s = &throttled{at: now.Add(-time.Hour)}
		t.passed[message] = s
	}
	if now.Sub(s.at) < time.Minute {
		s.skipped++
		return 0
	}
	times := s.skipped + 1
	s.at, s.skipped = now, 0
	return times
}
