package sidecar

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/worker/engine"
)

func TestReading(t *testing.T) {
	type step struct {
		after time.Duration // since the step before
		t     engine.Totals
	}
	second := func(t engine.Totals) step { return step{time.Second, t} }
	for _, tt := range []struct {
		name     string
		stepwise bool
		steps    []step
		want     canary.Activity
	}{
		{"the first scrape counts nothing", false,
			[]step{second(engine.Totals{engine.Tokens: 100, engine.Completed: 10, engine.InFlight: 2})},
			canary.Activity{InFlight: 2}},
		{"tokens and ends", false,
			[]step{second(engine.Totals{engine.Tokens: 100, engine.Completed: 10}), second(engine.Totals{engine.Tokens: 107, engine.Completed: 11})},
			canary.Activity{Completed: 1, Progress: 8, Steps: 1}},
		{"what clients abandon proves nothing", false,
			[]step{second(engine.Totals{}), second(engine.Totals{engine.Aborted: 3})},
			canary.Activity{Failed: 3, Progress: 3}},
		{"what the engine fails is its error", false,
			[]step{second(engine.Totals{}), second(engine.Totals{engine.Failed: 2})},
			canary.Activity{Failed: 2, Errors: 2, Progress: 2}},
		{"it adds up", false,
			[]step{second(engine.Totals{engine.Tokens: 1}), second(engine.Totals{engine.Tokens: 2}), second(engine.Totals{engine.Tokens: 4})},
			canary.Activity{Progress: 3, Steps: 2}},
		{"across a gap nothing counts", false,
			[]step{second(engine.Totals{engine.Tokens: 1}), {2100 * time.Millisecond, engine.Totals{engine.Tokens: 9, engine.Completed: 1, engine.InFlight: 1}}},
			canary.Activity{InFlight: 1, Steps: 1}},
		{"and then it goes on", false,
			[]step{second(engine.Totals{engine.Tokens: 1}), {3 * time.Second, engine.Totals{engine.Tokens: 9}}, second(engine.Totals{engine.Tokens: 10})},
			canary.Activity{Progress: 1, Steps: 2}},
		{"an engine that began again", false,
			[]step{second(engine.Totals{engine.Tokens: 100, engine.Completed: 2}), second(engine.Totals{engine.Tokens: 5, engine.Completed: 3}), second(engine.Totals{engine.Tokens: 6, engine.Completed: 3})},
			canary.Activity{Progress: 1, Steps: 2}},
		{"the larger of two gauges", false,
			[]step{second(engine.Totals{engine.InFlight: 2, engine.Queued: 5})},
			canary.Activity{InFlight: 5}},
		{"a beat", true,
			[]step{second(engine.Totals{engine.Gauge: 0.1}), second(engine.Totals{engine.Gauge: 0.2, engine.InFlight: 1}), second(engine.Totals{engine.Gauge: 0.2, engine.InFlight: 1}), second(engine.Totals{engine.Gauge: 0.1, engine.InFlight: 1})},
			canary.Activity{InFlight: 1, Steps: 2}},
		{"a gauge that nothing moves is believed for a while", true,
			[]step{second(engine.Totals{engine.Tokens: 1}), second(engine.Totals{engine.Tokens: 2, engine.InFlight: 1}), {gaugeTrust, engine.Totals{engine.Tokens: 2, engine.InFlight: 1}}},
			canary.Activity{InFlight: 1, Progress: 1, Steps: 1}},
		{"and is doubtful then", true,
			[]step{second(engine.Totals{engine.Tokens: 1}), second(engine.Totals{engine.Tokens: 2, engine.InFlight: 1}), {gaugeTrust + 1, engine.Totals{engine.Tokens: 2, engine.InFlight: 1}}},
			canary.Activity{InFlight: 1, Progress: 1, Steps: 1, StaleGauges: true}},
		{"one of nothing is beyond doubt", true,
			[]step{second(engine.Totals{engine.Tokens: 1}), second(engine.Totals{engine.Tokens: 2}), {gaugeTrust + 1, engine.Totals{engine.Tokens: 2}}},
			canary.Activity{Progress: 1, Steps: 1}},
		{"one that does not need steps is", false,
			[]step{second(engine.Totals{engine.Tokens: 1}), second(engine.Totals{engine.Tokens: 2, engine.InFlight: 1}), {time.Hour, engine.Totals{engine.Tokens: 2, engine.InFlight: 1}}},
			canary.Activity{InFlight: 1, Progress: 1, Steps: 1}},
	} {
		var r sample
		at := time.Now()
		for _, s := range tt.steps {
			at = at.Add(s.after)
			r = r.next(engine.Scrape{Totals: s.t}, at, tt.stepwise)
		}
		if got := r.activityAt(at); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
		tt.want.InFlight, tt.want.StaleGauges = 0, false
		if got := r.activityAt(at.Add(maxAge + 1)); got != tt.want {
			t.Errorf("%s, stale: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
