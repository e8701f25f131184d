package sidecar

import (
	"time"

	"github.com/dynmesh/dynmesh/canary"
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
	totals   totals
	moved    time.Time // when a total last changed, gauges of requests aside
	activity canary.Activity
}

// next takes in new totals. What has happened between two readings counts only if they are close together: across a gap,
// a canary may have come and gone, and it would vouch for itself. Totals that went back are those of an engine that began
// again, and are where counting goes on from.
func (r reading) next(t totals, at time.Time, stepwise bool) reading {
	n := reading{at: at, totals: t, moved: r.moved, activity: r.activity}
	var grown [quantities]uint64
	again := r.at.IsZero() || at.Sub(r.at) > stale
	for _, q := range []quantity{tokens, completed, abandoned, failures} {
		again = again || t[q] < r.totals[q]
		if t[q] != r.totals[q] {
			n.moved = at
			grown[q] = uint64(max(t[q]-r.totals[q], 0))
		}
	}
	if t[beat] != r.totals[beat] {
		n.moved = at
		grown[beat] = 1
	}
	if !again {
		a := &n.activity
		a.Completed += grown[completed]
		a.Errors += grown[failures]
		a.Failed += grown[failures] + grown[abandoned]
		a.Progress += grown[tokens] + grown[beat] + grown[completed] + grown[failures] + grown[abandoned]
	}
	n.activity.InFlight = uint64(max(t[inFlight], t[queued]))
	// Either a long step, such as a prefill, or the last one of an engine that has been idle since.
	n.activity.Doubtful = stepwise && n.activity.InFlight > 0 && at.Sub(n.moved) > believed
	return n
}

// tell is the activity as it may be relied on by now.
func (r reading) tell(now time.Time) canary.Activity {
	a := r.activity
	if now.Sub(r.at) > stale {
		a.InFlight, a.Doubtful = 0, false
	}
	return a
}
