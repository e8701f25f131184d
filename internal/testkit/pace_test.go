package testkit

import (
	"testing"
	"testing/synctest"
	"time"
)

// What passes while the process is there counts.
func TestPace(t *testing.T) {
	p := Paced(t)
	began := time.Now()
	<-time.After(100 * time.Millisecond)
	if took := p.Since(began); took > time.Since(began) || took < 0 {
		t.Errorf("got %v after %v", took, time.Since(began))
	}
}

// What the machine keeps for others does not.
func TestPaceLeavesOutWhatWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
		p := &Pace{woke: began}
		p.note(at(2), paceStep)   // idle
		p.note(at(5), paceStep)   // as late as sleeps are
		p.note(at(107), paceStep) // 100 ms late
		p.note(at(160), 0)        // 53 ms between two lines
		time.Sleep(200 * time.Millisecond)
		for _, tt := range []struct{ moment, took int }{
			{0, 9}, {57, 2}, {110, 2}, {160, 2}, // nothing is noted of the last 40 ms: all but one step is lost
		} {
			if got, want := p.Since(at(tt.moment)), time.Duration(tt.took)*time.Millisecond; got != want {
				t.Errorf("since %d ms: got %v, want %v", tt.moment, got, want)
			}
		}
		for moment, want := range map[int]time.Duration{0: 100 * time.Millisecond, 106: 100 * time.Millisecond, 107: 53 * time.Millisecond, 160: 0} {
			if got := p.Longest(at(moment)); got != want {
				t.Errorf("since %d ms: got %v lost at a stretch, want %v", moment, got, want)
			}
		}
	})
}
