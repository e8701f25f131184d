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
