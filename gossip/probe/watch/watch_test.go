package watch

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
)

// script plays a watch by hand.
type script struct {
	t   *testing.T
	w   Member
	now time.Duration
	a   Actions // of the last step
}

func (s *script) step(e Event) Actions {
	s.w, s.a = s.w.Step(e, s.now)
	return s.a
}

// wait lets time pass, and every step come when it is due.
func (s *script) wait(d time.Duration) (all []Actions) {
	until := s.now + d
	for s.a.Wake <= until {
		s.now = max(s.now, s.a.Wake)
		all = append(all, s.step(Event{}))
	}
	s.now = until
	return all
}

// answered is a script in which the worker answered its first ping, and has no port of requests.
func answered(t *testing.T) *script {
	s := &script{t: t, w: NewMember(1, false, 0)}
	s.step(Event{})
	if !s.a.OpenTripwire {
		t.Fatalf("at first: got %+v, want a tripwire", s.a)
	}
	s.step(Event{Kind: TripwireOpened, Outcome: Accepted})
	for !s.a.Ping {
		s.now = s.a.Wake
		s.step(Event{})
	}
	s.now += time.Millisecond
	s.step(Event{Kind: Ponged, Nonce: s.a.PingNonce})
	if !s.a.Changed || s.w.Finding().Finding != dynmesh.Pass || s.w.RTT() != time.Millisecond {
		t.Fatalf("after the first answer: got %+v, finding %+v, rtt %v: want a pass", s.a, s.w.Finding(), s.w.RTT())
	}
	return s
}

func count(all []Actions, f func(Actions) bool) (n int) {
	for _, a := range all {
		if f(a) {
			n++
		}
	}
	return n
}

func TestTripwireIsNoFindingAndAsksAtOnce(t *testing.T) {
	s := answered(t)
	before := s.w.process.nonce
	s.step(Event{Kind: TripwireClosed})
	if !s.a.DialGossip || !s.a.Ping || s.a.Changed || s.w.process.phase != verifying {
		t.Fatalf("got %+v, want a question and nothing said", s.a)
	}
	s.step(Event{Kind: Ponged, Nonce: before})
	if s.w.process.phase != verifying {
		t.Fatal("an answer that the worker gave before it was gone settled the doubt")
	}
	pings := count(s.wait(100*time.Millisecond), func(a Actions) bool { return a.Ping })
	if pings != quickPings-1 { // and the one that went with the question
		t.Errorf("%d more pings in 100 ms, want %d", pings, quickPings-1)
	}
	s.step(Event{Kind: Ponged, Nonce: s.w.process.nonce})
	if s.w.process.phase == verifying || s.w.Finding().Finding != dynmesh.Pass {
		t.Errorf("got %+v after an answer, want a pass", s.w.Finding())
	}
	s.step(Event{Kind: GossipDialed, Outcome: Refused})
	if s.a.Changed {
		t.Error("a connection was refused after packets had been answered, and that was believed")
	}
}

func TestRefusedIsAFindingUntilAnswered(t *testing.T) {
	s := answered(t)
	s.step(Event{Kind: TripwireClosed})
	s.step(Event{Kind: DialStarted})
	s.wait(10 * time.Millisecond)
	during := s.w.process.nonce
	s.step(Event{Kind: GossipDialed, Outcome: Refused})
	if f := s.w.Finding(); !s.a.Changed || f.Finding != dynmesh.Fail || f.Reason != dynmesh.ReasonRefused {
		t.Fatalf("got %+v, want a failure at once", f)
	}
	s.step(Event{Kind: Ponged, Nonce: during})
	if s.a.Changed {
		t.Fatal("an answer from before the refusal undid it")
	}
	for i := range 10 { // each attempt asks by packets and by a connection, ever more seldom
		began := s.now
		for !s.a.DialGossip {
			s.now = s.a.Wake
			s.step(Event{})
		}
		if want := min(minPause<<i, maxPause); s.now-began < want*9/10 || s.now-began > want*11/10 {
			t.Errorf("attempt %d came after %v, want about %v", i, s.now-began, want)
		}
		s.step(Event{Kind: GossipDialed, Outcome: Refused})
	}
	s.wait(time.Second)
	s.step(Event{Kind: Ponged, Nonce: s.w.process.nonce})
	if s.w.Finding().Finding != dynmesh.Pass || !s.a.Changed || !s.a.OpenTripwire {
		t.Errorf("got %+v, %+v after an answer, want a pass and a tripwire", s.w.Finding(), s.a)
	}
}

// A port that refuses while the process behind it answers is said once, and never again until it
// accepts.
func TestRefusedByWhoLivesIsSaidOnce(t *testing.T) {
	s := answered(t)
	refuse := func() {
		s.step(Event{Kind: TripwireClosed})
		s.step(Event{Kind: GossipDialed, Outcome: Refused})
	}
	refuse()
	if s.w.Finding().Finding != dynmesh.Fail {
		t.Fatalf("got %+v, want a failure at once", s.w.Finding())
	}
	s.wait(time.Second)
	s.step(Event{Kind: Ponged, Nonce: s.w.process.nonce})
	for range 10 {
		if s.step(Event{Kind: TripwireOpened, Outcome: Refused}); s.w.process.phase != watching {
			t.Fatal("that it refuses was known, and it is asked all the same")
		}
		for !s.a.OpenTripwire {
			s.now = s.a.Wake
			if s.step(Event{}); s.a.Ping {
				s.step(Event{Kind: Ponged, Nonce: s.w.process.nonce})
			}
		}
	}
	s.step(Event{Kind: TripwireOpened, Outcome: Accepted})
	if s.w.Finding().Finding != dynmesh.Pass {
		t.Fatalf("got %+v of a process that answers", s.w.Finding())
	}
	if refuse(); s.w.Finding().Finding != dynmesh.Fail {
		t.Errorf("got %+v after it has accepted, want a failure at once", s.w.Finding())
	}
}

// Whoever plays old packets again vouches for nobody.
func TestOldAnswersSayNothing(t *testing.T) {
	s := answered(t)
	first := s.w.process.nonce
	s.wait(7 * time.Second) // the question waits in the line all the time
	if s.w.Finding().Finding != dynmesh.Fail {
		t.Fatalf("got %+v after 7 s of silence", s.w.Finding())
	}
	for _, nonce := range []uint64{0, first - 1, first - ring, s.w.process.nonce + 1, 1 << 63} {
		s.step(Event{Kind: Ponged, Nonce: nonce})
	}
	s.now += maxAge
	s.step(Event{Kind: Ponged, Nonce: first})
	if s.w.Finding().Finding != dynmesh.Fail {
		t.Error("an old answer was believed")
	}
}

func TestAnotherProcessThereIsAFailure(t *testing.T) {
	s := answered(t)
	s.wait(time.Second)
	s.step(Event{Kind: Ponged, Nonce: s.w.process.nonce, Other: true})
	if s.a.Changed || s.w.process.phase != verifying {
		t.Fatalf("got %+v, want a doubt", s.w.Finding())
	}
	s.wait(time.Millisecond)
	s.step(Event{Kind: Ponged, Nonce: s.w.process.nonce, Other: true})
	if f := s.w.Finding(); f.Finding != dynmesh.Fail || f.Detail != "another process answers there" {
		t.Errorf("got %+v, want a failure", f)
	}
}

// Whatever comes, in whatever order: a step is a function of what it is given, nothing is begun
// twice, what is said to have changed has, and the watch neither spins nor falls asleep. While it
// is unwell it makes no failure of silence.
func TestWatchKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := NewMember(rapid.Uint64().Draw(t, "seed"), rapid.Bool().Draw(t, "service"), 0)
		unwell := rapid.Bool().Draw(t, "unwell")
		outcomes := []Outcome{Void, Accepted, TimedOut, Refused, Unreachable}
		if unwell {
			outcomes = outcomes[:3]
		}
		outcome := rapid.SampledFrom(outcomes)
		var now time.Duration
		var asking, opening, up bool
		var connecting Attempts
		var said Finding
		step := func(e Event) Actions {
			e.Unhealthy = unwell
			before := w
			next, a := w.Step(e, now)
			w = next
			if again, b := before.Step(e, now); again != w || b != a {
				t.Fatal("the same step led elsewhere")
			}
			if a.DialGossip && asking || a.OpenTripwire && (opening || up) || a.DialService != None && connecting != None {
				t.Fatalf("%+v: begun twice", a)
			}
			if a.Changed != (w.Finding() != said) {
				t.Fatalf("changed %v from %+v to %+v", a.Changed, said, w.Finding())
			}
			said = w.Finding()
			if unwell && said.Finding == dynmesh.Fail && said.Reason != dynmesh.ReasonTimeout {
				t.Fatalf("says %+v, and nobody told it", said)
			}
			if unwell && said.Finding == dynmesh.Fail {
				t.Fatalf("says %+v while it is unwell", said)
			}
			asking, opening, connecting = asking || a.DialGossip, opening || a.OpenTripwire, max(connecting, a.DialService)
			if a.CloseTripwire {
				opening, up = false, false
			}
			return a
		}
		a := step(Event{})
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			var e Event
			switch k := rapid.IntRange(0, 9).Draw(t, "what"); {
			case k == 0 && asking:
				e.Kind, e.Outcome, asking = GossipDialed, outcome.Draw(t, "asked"), false
			case k == 1 && opening:
				e.Kind, e.Outcome, opening = TripwireOpened, outcome.Draw(t, "opened"), false
				up = e.Outcome == Accepted
			case k == 2 && up:
				e.Kind, up = TripwireClosed, false
			case k == 3 && connecting != None:
				e.Kind, e.Outcome, connecting = ServiceDialed, outcome.Draw(t, "connected"), None
			case k == 4:
				e.Kind, e.Nonce = Ponged, w.process.nonce-rapid.Uint64Range(0, 3).Draw(t, "age")
				e.Other = !unwell && rapid.IntRange(0, 3).Draw(t, "other") == 0
			case k == 5 && asking:
				e.Kind = DialStarted
			case k == 6 && rapid.IntRange(0, 9).Draw(t, "readdress") == 0:
				e.Kind, e.Service = Readdressed, rapid.Bool().Draw(t, "service")
			case k == 8 && rapid.IntRange(0, 9).Draw(t, "inherit") == 0:
				e.Kind = Inherited
			case k == 7:
				now += time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "later"))
			case a.Wake != never:
				now = max(now, a.Wake)
			}
			a = step(e)
			for i := 0; a.Wake <= now; i++ {
				if i > 5 {
					t.Fatal("it does not come to rest")
				}
				a = step(Event{})
			}
			if a.Wake == never && connecting == None {
				t.Fatal("it sleeps for ever")
			}
		}
	})
}
