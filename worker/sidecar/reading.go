package sidecar

import (
	"time"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/worker/engine"
)

const (
	// stale is how old a reading may be to say anything.
	stale = 2 * time.Second

	// believed is how long the gauges of a stepwise engine are beyond doubt, after something has moved.
	believed = 10 * time.Second
)

// reading is what is known of an engine's activity from its counters. It is a value: next takes one and returns the next.
type reading struct {
	at       time.Time // when the engine was asked for the totals; zero before the first time
	totals   engine.Totals
	moved    time.Time // when a total last changed, gauges of requests aside
	activity canary.Activity
}

// next takes in new totals. What has happened between two readings counts only if they are close together: across a gap,
// a canary may have come and gone, and it would vouch for itself. Totals that went back are those of an engine that began
// again, and are where counting goes on from.
func (r reading) next(t engine.Totals, at time.Time, stepwise bool) reading {
	n := reading{at: at, totals: t, moved: r.moved, activity: r.activity}
	var grown [len(engine.Totals{})]uint64
	again := r.at.IsZero() || at.Sub(r.at) > stale
	for _, q := range []engine.Quantity{engine.Tokens, engine.Completed, engine.Aborted, engine.Failed} {
		again = again || t[q] < r.totals[q]
		if t[q] != r.totals[q] {
			n.moved = at
			grown[q] = uint64(max(t[q]-r.totals[q], 0))
		}
	}
	if t[engine.Iteration] != r.totals[engine.Iteration] {
		n.moved = at
		grown[engine.Iteration] = 1
	}
	if !again {
		a := &n.activity
		a.Completed += grown[engine.Completed]
		a.Errors += grown[engine.Failed]
		a.Failed += grown[engine.Failed] + grown[engine.Aborted]
		a.Progress += grown[engine.Tokens] + grown[engine.Iteration] + grown[engine.Completed] + grown[engine.Failed] + grown[engine.Aborted]
	}
	n.activity.InFlight = uint64(max(t[engine.InFlight], t[engine.Queued]))
	// Either a long step, such as a prefill, or the last one of an engine that has been idle since.
	n.activity.StaleGauges = stepwise && n.activity.InFlight > 0 && at.Sub(n.moved) > believed
	return n
}

// tell is the activity as it may be relied on by now.
func (r reading) tell(now time.Time) canary.Activity {
	a := r.activity
	if now.Sub(r.at) > stale {
		a.InFlight, a.StaleGauges = 0, false
	}
	return a
}
