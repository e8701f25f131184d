package watch

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
)

// Whatever its attempts come to: one is under way at a time, the next is never far, what is said to
// have changed has, and silence is no failure while this process is unwell.
func TestForeignKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, a := NewForeign(rapid.Uint64().Draw(t, "seed"), 0).Step(Event{}, 0)
		outcome := rapid.SampledFrom([]Outcome{Void, Accepted, Refused, Unreachable, TimedOut})
		var now time.Duration
		for range rapid.IntRange(1, 100).Draw(t, "attempts") {
			for a.DialService == None {
				if a.Wake <= now || a.Wake > now+2*maxPause {
					t.Fatalf("woken at %v, while it is %v", a.Wake, now)
				}
				now = a.Wake
				f, a = f.Step(Event{}, now)
			}
			if f2, b := f.Step(Event{}, now+time.Hour); f2 != f || b.DialService != None || b.Wake != never {
				t.Fatalf("while one is under way: got %+v, want nothing", b)
			}
			e := Event{Kind: ServiceDialed, Outcome: outcome.Draw(t, "outcome"), Unhealthy: rapid.Bool().Draw(t, "unwell")}
			now += time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "took"))
			said := f.Finding()
			again, b := f.Step(e, now)
			if f, a = f.Step(e, now); f != again || a != b {
				t.Fatal("the same step led elsewhere")
			}
			if a.Changed != (f.Finding() != said) {
				t.Fatalf("changed %v from %+v to %+v", a.Changed, said, f.Finding())
			}
			if e.Unhealthy && e.Outcome == TimedOut && said.Finding == dynmesh.Pass && f.Finding().Finding == dynmesh.Fail {
				t.Fatalf("says %+v for want of an answer, while it is unwell", f.Finding())
			}
		}
	})
}

// A connection that is kept is the only one, and what its end means.
func TestForeignKeepsOneConnection(t *testing.T) {
	const second, soon = time.Second, 60*time.Second + 3*time.Millisecond
	type step struct {
		at     time.Duration
		e      Event
		dials  Attempts
		says   dynmesh.Finding
		reason dynmesh.Reason
	}
	accepted := Event{Kind: ServiceDialed, Outcome: Accepted, Idle: true}
	refused := Event{Kind: ServiceDialed, Outcome: Refused}
	silent := Event{Kind: ServiceDialed, Outcome: TimedOut}
	closed := Event{Kind: ServiceClosed, Outcome: Accepted}
	givenUp := Event{Kind: ServiceClosed, Outcome: TimedOut}
	unwell := silent
	unwell.Unhealthy = true
	pass, fail := dynmesh.Pass, dynmesh.Fail
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"stands for an hour", []step{{0, accepted, None, pass, ""}, {3600 * second, Event{}, None, pass, ""}}},
		{"killed", []step{{0, accepted, None, pass, ""}, {60 * second, closed, None, pass, ""}, {soon, Event{}, Redial, pass, ""}, {soon, refused, None, fail, dynmesh.ReasonRefused}}},
		{"killed, the first packet lost", []step{
			{0, accepted, None, pass, ""}, {60 * second, closed, None, pass, ""}, {soon, Event{}, Redial, pass, ""},
			{61 * second, silent, ShortBurst, pass, ""}, {61 * second, refused, None, fail, dynmesh.ReasonRefused},
		}},
		{"killed, the port closed last", []step{
			{0, accepted, None, pass, ""}, {60 * second, closed, None, pass, ""}, {soon, Event{}, Redial, pass, ""}, {soon, accepted, None, pass, ""},
			{soon, closed, None, pass, ""}, {soon + 6*time.Millisecond, Event{}, Redial, pass, ""},
			{soon + 6*time.Millisecond, refused, None, fail, dynmesh.ReasonRefused},
		}},
		{"closed by somebody in between", []step{
			{0, accepted, None, pass, ""}, {60 * second, closed, None, pass, ""}, {soon, Event{}, Redial, pass, ""}, {soon, accepted, None, pass, ""},
			{3600 * second, Event{}, None, pass, ""},
		}},
		{"cut off", []step{{0, accepted, None, pass, ""}, {62 * second, givenUp, ShortBurst, pass, ""}, {63 * second, silent, None, fail, dynmesh.ReasonTimeout}}},
		{"cut off ourselves", []step{{0, accepted, None, pass, ""}, {62 * second, givenUp, ShortBurst, pass, ""}, {63 * second, unwell, None, "", ""}}},
		{"a packet was lost", []step{
			{0, accepted, None, pass, ""}, {62 * second, givenUp, ShortBurst, pass, ""},
			{62 * second, Event{Kind: ServiceDialed, Outcome: Accepted}, None, pass, ""}, {65 * second, Event{}, Once, pass, ""},
			{65 * second, accepted, None, pass, ""}, {3600 * second, Event{}, None, pass, ""},
		}},
		{"restarted on its port", []step{
			{0, accepted, None, pass, ""}, {60 * second, closed, None, pass, ""}, {soon, Event{}, Redial, pass, ""}, {soon, refused, None, fail, dynmesh.ReasonRefused},
			{61 * second, Event{}, Once, fail, dynmesh.ReasonRefused}, {61 * second, accepted, None, pass, ""},
		}},
		{"refused once without having stood", []step{{0, refused, None, "", ""}, {second, Event{}, Once, "", ""}, {second, refused, None, fail, dynmesh.ReasonRefused}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, a := NewForeign(1, -10*second).Step(Event{}, 0)
			if a.DialService != Once {
				t.Fatalf("it begins with %+v", a)
			}
			for n, s := range tt.steps {
				f, a = f.Step(s.e, s.at)
				if got := f.Finding(); a.DialService != s.dials || got.Finding != s.says || got.Reason != s.reason {
					t.Fatalf("step %d: dials %v and says %+v, want %v and %s %s", n, a.DialService, got, s.dials, s.says, s.reason)
				}
			}
		})
	}
}

// Where connections are closed as soon as they are made, it comes to no more of them than where
// none is kept.
func TestForeignThatClosesAtOnce(t *testing.T) {
	f := NewForeign(1, 0)
	var a Actions
	dials := 0
	for now := time.Duration(0); now < time.Minute; now = a.Wake {
		f, a = f.Step(Event{}, now)
		for a.DialService == Once || a.DialService == Redial {
			dials++
			f, _ = f.Step(Event{Kind: ServiceDialed, Outcome: Accepted, Idle: true}, now)
			f, a = f.Step(Event{Kind: ServiceClosed, Outcome: Accepted}, now)
		}
	}
	if dials < 20 || dials > 45 || f.Finding().Finding != dynmesh.Pass {
		t.Errorf("%d dials in a minute, and it says %+v; want one in %v, and that it can be reached", dials, f.Finding(), foreignPeriod)
	}
}

// A system port is asked once a second, and silent only where it has answered.
func TestSystem(t *testing.T) {
	asked := func(o Outcome, unwell bool) Event { return Event{Kind: SystemAsked, Outcome: o, Unhealthy: unwell} }
	for _, tt := range []struct {
		name             string
		ends             []Event
		answered, frozen bool
	}{
		{"answers", []Event{asked(Accepted, false)}, true, false},
		{"never answered", []Event{asked(TimedOut, false), asked(TimedOut, false)}, false, false},
		{"falls silent", []Event{asked(Accepted, false), asked(TimedOut, false)}, true, true},
		{"falls silent for us", []Event{asked(Accepted, false), asked(TimedOut, true)}, true, false},
		{"is silent and we are late", []Event{asked(Accepted, false), asked(TimedOut, false), asked(Void, false)}, true, true},
		{"goes on", []Event{asked(Accepted, false), asked(TimedOut, false), asked(Accepted, false)}, true, false},
		{"is gone", []Event{asked(Accepted, false), asked(TimedOut, false), asked(Refused, false)}, false, false},
		{"is another one now", []Event{asked(Accepted, false), asked(Refused, false), asked(TimedOut, false)}, false, false},
		{"cannot be reached", []Event{asked(Accepted, false), asked(Unreachable, false)}, false, false},
		{"is silent until nobody gets in", []Event{asked(Accepted, false), asked(TimedOut, false), asked(Unreachable, false)}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Duration(0)
			s := NewSystem(1, now)
			for n, e := range tt.ends {
				var a SystemAsks
				for !a.Ask {
					s, a = s.Step(Event{}, SystemPeriod, now)
					if a.Ask {
						break
					}
					if a.Wake > now+SystemPeriod+SystemPeriod/9 {
						t.Fatalf("question %d: asked at %v, and it is %v", n, a.Wake, now)
					}
					now = a.Wake
				}
				s, a = s.Step(e, SystemPeriod, now)
				if a.Ask {
					t.Fatal("asked again at once")
				}
			}
			if s.Answered() != tt.answered || s.Frozen() != tt.frozen {
				t.Errorf("answered %v, frozen %v, want %v, %v", s.Answered(), s.Frozen(), tt.answered, tt.frozen)
			}
		})
	}
}
