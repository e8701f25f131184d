package path

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// A round that came late is not a round that was missed.
func TestLateRoundsAreNotMissed(t *testing.T) {
	s := answered(t)
	for s.w.heart.misses < maxMisses {
		s.now = s.a.Wake
		s.step(Event{})
	}
	s.now = s.a.Wake + lateness + 1
	s.step(Event{})
	if s.w.heart.phase != watching || s.w.heart.misses != maxMisses || !s.a.Ping {
		t.Fatalf("late: phase %v after %d misses, %+v: want another heartbeat, and nothing missed", s.w.heart.phase, s.w.heart.misses, s.a)
	}
	s.now = s.a.Wake
	s.step(Event{})
	if s.w.heart.phase != checking || !s.a.Ask {
		t.Fatalf("in time: got %+v, want a check", s.a)
	}
	s.wait(2*silentWait + queueWait)
	if s.w.Finding().Finding != dynmesh.Fail {
		t.Fatalf("got %+v", s.w.Finding())
	}
}

// What waits in this process's own line says nothing of the worker, and a failure lets go of the tripwire.
func TestCheckWaitsForItsConnection(t *testing.T) {
	s := answered(t)
	for s.w.heart.phase != checking {
		s.now = s.a.Wake
		s.step(Event{})
	}
	s.wait(silentWait + queueWait/2)
	if s.w.heart.phase != checking {
		t.Fatalf("got %+v before its connection was begun", s.w.Finding())
	}
	s.step(Event{Kind: Asking})
	all := s.wait(askedWait + time.Millisecond)
	if f := s.w.Finding(); f.Finding != dynmesh.Fail || f.Reason != dynmesh.ReasonTimeout {
		t.Errorf("got %+v after its connection had its time", f)
	}
	if n := count(all, func(a Actions) bool { return a.Close }); n != 1 {
		t.Errorf("the tripwire was closed %d times, want once", n)
	}
	s.step(Event{Kind: Tripped})
	if s.a.Changed || s.w.heart.phase != failed {
		t.Errorf("a tripwire that was closed made a difference: %+v", s.a)
	}
}

func TestNothingIsMissedInTheLineWhileDegraded(t *testing.T) {
	s := answered(t)
	s.w.heart.degraded = true
	s.wait(2 * time.Second) // the first of its questions is still in the line
	if s.w.heart.phase != watching || s.w.heart.misses > 1 {
		t.Fatalf("phase %v after %d misses", s.w.heart.phase, s.w.heart.misses)
	}
	s.step(Event{Kind: Asking})
	s.wait(2 * time.Second)
	if s.w.heart.phase != checking {
		t.Fatalf("phase %v after %d misses, want a check", s.w.heart.phase, s.w.heart.misses)
	}
}

// TestPort plays a port of requests: what its attempts came to, and what is said after each of them.
func TestPort(t *testing.T) {
	for _, tc := range []struct {
		name  string
		steps []Event
		tries []Effort // which the steps answer
		want  []dynmesh.Finding
	}{
		{"accepts", outcomes(Accepted, Accepted), []Effort{Once, Once}, []dynmesh.Finding{dynmesh.Pass, dynmesh.Pass}},
		{"refused once", outcomes(Accepted, Refused, Accepted), []Effort{Once, Once, Once}, []dynmesh.Finding{dynmesh.Pass, dynmesh.Pass, dynmesh.Pass}},
		{"refused twice", outcomes(Accepted, Refused, Refused, Accepted), []Effort{Once, Once, Once, Once},
			[]dynmesh.Finding{dynmesh.Pass, dynmesh.Pass, dynmesh.Fail, dynmesh.Pass}},
		{"refused twice, but not in a row", outcomes(Refused, Accepted, Refused, Accepted), []Effort{Once, Once, Once, Once},
			[]dynmesh.Finding{"", dynmesh.Pass, dynmesh.Pass, dynmesh.Pass}},
		{"one attempt is lost", outcomes(Accepted, TimedOut, Accepted), []Effort{Once, Once, Burst}, []dynmesh.Finding{dynmesh.Pass, dynmesh.Pass, dynmesh.Pass}},
		{"all are lost", outcomes(Accepted, TimedOut, TimedOut), []Effort{Once, Once, Burst}, []dynmesh.Finding{dynmesh.Pass, dynmesh.Pass, dynmesh.Fail}},
		{"nothing can be said", outcomes(Accepted, Void, Void), []Effort{Once, Once, Once}, []dynmesh.Finding{dynmesh.Pass, dynmesh.Pass, dynmesh.Pass}},
		{"refused, then lost", outcomes(Refused, TimedOut, Refused), []Effort{Once, Once, Burst}, []dynmesh.Finding{"", "", dynmesh.Fail}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, a := NewForeign(1, 0).Step(Event{}, 0)
			var now time.Duration
			for i, e := range tc.steps {
				for a.Connect == None {
					now = a.Wake
					f, a = f.Step(Event{}, now)
				}
				if a.Connect != tc.tries[i] {
					t.Fatalf("attempt %d: effort %v, want %v", i, a.Connect, tc.tries[i])
				}
				f, a = f.Step(e, now)
				if got := f.Finding().Finding; got != tc.want[i] {
					t.Fatalf("after attempt %d: got %q, want %q", i, got, tc.want[i])
				}
			}
		})
	}
}

func outcomes(all ...Outcome) (events []Event) {
	for _, o := range all {
		events = append(events, Event{Kind: Connected, Outcome: o})
	}
	return events
}

// What an attempt at the old place comes to is not about the new one.
func TestPortThatMoves(t *testing.T) {
	p := newPort(1, true, servicePeriod, 0)
	var a Actions
	at := func(e Event) {
		a = Actions{}
		p.step(e, 0, true, &a)
	}
	at(Event{})
	at(Event{Kind: Readdressed, Service: true})
	if at(Event{Kind: Connected, Outcome: Accepted}); p.finding.Finding != "" || a.Connect != Once {
		t.Errorf("got %+v and %+v: want nothing said, and another attempt", p.finding, a)
	}
	at(Event{Kind: Connected, Outcome: Accepted})
	if at(Event{Kind: Readdressed, Service: false}); p.finding.Finding != "" || a.Connect != None {
		t.Errorf("got %+v and %+v of a port that is there no longer", p.finding, a)
	}
}
