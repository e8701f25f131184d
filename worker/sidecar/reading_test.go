package sidecar

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/canary"
)

func TestReading(t *testing.T) {
	type step struct {
		after time.Duration // since the step before
		t     totals
	}
	second := func(t totals) step { return step{time.Second, t} }
	for _, tt := range []struct {
		name     string
		stepwise bool
		steps    []step
		want     canary.Activity
	}{
		{"the first reading counts nothing", false,
			[]step{second(totals{tokens: 100, completed: 10, inFlight: 2})},
			canary.Activity{InFlight: 2}},
		{"tokens and ends", false,
			[]step{second(totals{tokens: 100, completed: 10}), second(totals{tokens: 107, completed: 11})},
			canary.Activity{Completed: 1, Progress: 8}},
		{"what clients abandon proves nothing", false,
			[]step{second(totals{}), second(totals{abandoned: 3})},
			canary.Activity{Failed: 3, Progress: 3}},
		{"what the engine fails is its error", false,
			[]step{second(totals{}), second(totals{failures: 2})},
			canary.Activity{Failed: 2, Errors: 2, Progress: 2}},
		{"it adds up", false,
			[]step{second(totals{tokens: 1}), second(totals{tokens: 2}), second(totals{tokens: 4})},
			canary.Activity{Progress: 3}},
		{"across a gap nothing counts", false,
			[]step{second(totals{tokens: 1}), {2100 * time.Millisecond, totals{tokens: 9, completed: 1, inFlight: 1}}},
			canary.Activity{InFlight: 1}},
		{"and then it goes on", false,
			[]step{second(totals{tokens: 1}), {3 * time.Second, totals{tokens: 9}}, second(totals{tokens: 10})},
			canary.Activity{Progress: 1}},
		{"an engine that began again", false,
			[]step{second(totals{tokens: 100, completed: 2}), second(totals{tokens: 5, completed: 3}), second(totals{tokens: 6, completed: 3})},
			canary.Activity{Progress: 1}},
		{"the larger of two gauges", false,
			[]step{second(totals{inFlight: 2, queued: 5})},
			canary.Activity{InFlight: 5}},
		{"a beat", true,
			[]step{second(totals{beat: 0.1}), second(totals{beat: 0.2, inFlight: 1}), second(totals{beat: 0.2, inFlight: 1}), second(totals{beat: 0.1, inFlight: 1})},
			canary.Activity{InFlight: 1, Progress: 2}},
		{"a gauge that nothing moves is believed for a while", true,
			[]step{second(totals{tokens: 1}), second(totals{tokens: 2, inFlight: 1}), {believed, totals{tokens: 2, inFlight: 1}}},
			canary.Activity{InFlight: 1, Progress: 1}},
		{"and is doubtful then", true,
			[]step{second(totals{tokens: 1}), second(totals{tokens: 2, inFlight: 1}), {believed + 1, totals{tokens: 2, inFlight: 1}}},
			canary.Activity{InFlight: 1, Progress: 1, Doubtful: true}},
		{"one of nothing is beyond doubt", true,
			[]step{second(totals{tokens: 1}), second(totals{tokens: 2}), {believed + 1, totals{tokens: 2}}},
			canary.Activity{Progress: 1}},
		{"one that does not need steps is", false,
			[]step{second(totals{tokens: 1}), second(totals{tokens: 2, inFlight: 1}), {time.Hour, totals{tokens: 2, inFlight: 1}}},
			canary.Activity{InFlight: 1, Progress: 1}},
	} {
		var r reading
		at := time.Now()
		for _, s := range tt.steps {
			at = at.Add(s.after)
			r = r.next(s.t, at, tt.stepwise)
		}
		if got := r.tell(at); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
		tt.want.InFlight, tt.want.Doubtful = 0, false
		if got := r.tell(at.Add(stale + 1)); got != tt.want {
			t.Errorf("%s, stale: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
