package testkit

import (
	"testing"
	"time"
)

// What passes while the process is there counts, and what the machine keeps for others does not.
func TestPace(t *testing.T) {
	p := Paced(t)
	began := time.Now()
	<-time.After(100 * time.Millisecond)
	if took := p.Since(began); took > time.Since(began) || took < 0 {
		t.Errorf("got %v after %v", took, time.Since(began))
	}
	p.Stop()

	at := func(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }
	p = &Pace{woke: at(0)}
	p.note(at(2), paceStep)   // idle
	p.note(at(5), paceStep)   // as late as sleeps are
	p.note(at(107), paceStep) // 100 ms late
	p.note(at(160), 0)        // 53 ms between two lines
	p.woke = time.Now()
	for _, tt := range []struct {
		moment int
		lost   time.Duration
	}{{0, 153 * time.Millisecond}, {57, 103 * time.Millisecond}, {110, 50 * time.Millisecond}, {160, 0}} {
		real := time.Since(at(tt.moment))
		if got := real - p.Since(at(tt.moment)); got < tt.lost-time.Millisecond*5 || got > tt.lost+time.Millisecond*5 {
			t.Errorf("since %d ms: got %v lost, want %v", tt.moment, got, tt.lost)
		}
	}
}
