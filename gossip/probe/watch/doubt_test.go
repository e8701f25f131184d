package watch

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// A round that came late is not a round that was missed.
func TestLateRoundsAreNotMissed(t *testing.T) {
	s := answered(t)
	for s.w.process.misses < maxMisses {
		s.now = s.a.Wake
		s.step(Event{})
	}
	s.now = s.a.Wake + lateness + 1
	s.step(Event{})
	if s.w.process.phase != watching || s.w.process.misses != maxMisses || !s.a.Ping {
		t.Fatalf("late: phase %v after %d misses, %+v: want another heartbeat, and nothing missed", s.w.process.phase, s.w.process.misses, s.a)
	}
	s.now = s.a.Wake
	s.step(Event{})
	if s.w.process.phase != verifying || !s.a.DialGossip {
		t.Fatalf("in time: got %+v, want a check", s.a)
	}
	s.wait(2*silentWait + queueWait)
	if s.w.Finding().Finding != dynmesh.Fail {
		t.Fatalf("got %+v", s.w.Finding())
	}
}

// What waits in this process's own line says nothing of the worker, and a failure lets go of the
// tripwire.
func TestCheckWaitsForItsConnection(t *testing.T) {
	s := answered(t)
	for s.w.process.phase != verifying {
		s.now = s.a.Wake
		s.step(Event{})
	}
	s.wait(silentWait + queueWait/2)
	if s.w.process.phase != verifying {
		t.Fatalf("got %+v before its connection was begun", s.w.Finding())
	}
	s.step(Event{Kind: DialStarted})
	all := s.wait(answerWait + time.Millisecond)
	if f := s.w.Finding(); f.Finding != dynmesh.Fail || f.Reason != dynmesh.ReasonTimeout {
		t.Errorf("got %+v after its connection had its time", f)
	}
	if n := count(all, func(a Actions) bool { return a.CloseTripwire }); n != 1 {
		t.Errorf("the tripwire was closed %d times, want once", n)
	}
	s.step(Event{Kind: TripwireClosed})
	if s.a.Changed || s.w.process.phase != failed {
		t.Errorf("a tripwire that was closed made a difference: %+v", s.a)
	}
}

func TestNothingIsMissedInTheLineWhileDegraded(t *testing.T) {
	s := answered(t)
	s.w.process.degraded = true
	s.wait(2 * time.Second) // the first of its questions is still in the line
	if s.w.process.phase != watching || s.w.process.misses > 1 {
		t.Fatalf("phase %v after %d misses", s.w.process.phase, s.w.process.misses)
	}
	s.step(Event{Kind: DialStarted})
	s.wait(2 * time.Second)
	if s.w.process.phase != verifying {
		t.Fatalf("phase %v after %d misses, want a check", s.w.process.phase, s.w.process.misses)
	}
}

// TestPort plays a port of requests: what its attempts came to, and what is said after each of
// them.
func TestPort(t *testing.T) {
	for _, tc := range []struct {
		name  string
		steps []Event
		tries []Attempts // which the steps answer
		want  []dynmesh.Finding
	}{
		{"accepts", outcomes(Accepted, Accepted), []Attempts{Once, Once}, []dynmesh.Finding{dynmesh.Pass, dynmesh.Pass}},
		{"refused once", outcomes(Accepted, Refused, Accepted), []Attempts{Once, Once, Once}, []dynmesh.Finding{dynmesh.Pass, dynmesh.Pass, dynmesh.Pass}},
		{"refused twice", outcomes(Accepted, Refused, Refused, Accepted), []Attempts{Once, Once, Once, Once},
			[]dynmesh.Finding{dynmesh.Pass, dynmesh.Pass, dynmesh.Fail, dynmesh.Pass}},
		{"refused twice, but not in a row", outcomes(Refused, Accepted, Refused, Accepted), []Attempts{Once, Once, Once, Once},
			[]dynmesh.Finding{"", dynmesh.Pass, dynmesh.Pass, dynmesh.Pass}},
		{"one attempt is lost", outcomes(Accepted, TimedOut, Accepted), []Attempts{Once, Once, Burst}, []dynmesh.Finding{dynmesh.Pass, dynmesh.Pass, dynmesh.Pass}},
		{"all are lost", outcomes(Accepted, TimedOut, TimedOut), []Attempts{Once, Once, Burst}, []dynmesh.Finding{dynmesh.Pass, dynmesh.Pass, dynmesh.Fail}},
		{"nothing can be said", outcomes(Accepted, Void, Void), []Attempts{Once, Once, Once}, []dynmesh.Finding{dynmesh.Pass, dynmesh.Pass, dynmesh.Pass}},
		{"refused, then lost", outcomes(Refused, TimedOut, Refused), []Attempts{Once, Once, Burst}, []dynmesh.Finding{"", "", dynmesh.Fail}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, a := NewForeign(1, 0).Step(Event{}, 0)
			var now time.Duration
			for i, e := range tc.steps {
				for a.DialService == None {
					now = a.Wake
					f, a = f.Step(Event{}, now)
				}
				if a.DialService != tc.tries[i] {
					t.Fatalf("attempt %d: effort %v, want %v", i, a.DialService, tc.tries[i])
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
		events = append(events, Event{Kind: ServiceDialed, Outcome: o})
	}
	return events
}

// What an attempt at the old place comes to is not about the new one.
func TestPortThatMoves(t *testing.T) {
	p := newServiceProbe(1, true, servicePeriod, 0)
	var a Actions
	at := func(e Event) {
		a = Actions{}
		p.step(e, 0, true, &a)
	}
	at(Event{})
	at(Event{Kind: Readdressed, Service: true})
	if at(Event{Kind: ServiceDialed, Outcome: Accepted}); p.finding.Finding != "" || a.DialService != Once {
		t.Errorf("got %+v and %+v: want nothing said, and another attempt", p.finding, a)
	}
	at(Event{Kind: ServiceDialed, Outcome: Accepted})
	if at(Event{Kind: Readdressed, Service: false}); p.finding.Finding != "" || a.DialService != None {
		t.Errorf("got %+v and %+v of a port that is there no longer", p.finding, a)
	}
}
