package failures

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/text"
)

// What is too many: so many within window, or within a third of it, and so large a part of the
// requests that ended then. It is over once it is less than half of that part of window's.
const (
	window = 30 * time.Second
	least  = 3
	part   = 0.2
)

const (
	every  = time.Second      // the counters are looked at
	repeat = 30 * time.Second // what stands is said again, for those who have forgotten the instance
	apart  = 15 * time.Second // it is not taken back sooner, nor said again
)

// Watch notices that requests fail. Make it with [New].
type Watch struct {
	activity func() canary.Activity
	last     atomic.Pointer[dynmesh.Failure]
}

// New watches the counters of an endpoint.
func New(activity func() canary.Activity) *Watch { return &Watch{activity: activity} }

// Failed takes note of why a request failed. It may be called from any goroutine.
func (w *Watch) Failed(f *dynmesh.Failure) { w.last.Store(f) }

// Measure is dynmesh.MeasureFailures.
func (w *Watch) Measure() dynmesh.Measure { return dynmesh.MeasureFailures }

// Run says what it notices until ctx ends; "" where that is over.
func (w *Watch) Run(ctx context.Context, say func(sample string)) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	var seen counts
	var standing string
	var said time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		now := time.Now()
		a := w.activity()
		seen = seen.add(sample{now, a.Errors, a.Completed + a.Errors})
		within := window
		failed, ended := seen.within(within)
		is := isMany(failed, ended, standing != "")
		if !is && standing == "" {
			within = window / 3
			failed, ended = seen.within(within)
			is = isMany(failed, ended, false)
		}
		switch {
		case !said.IsZero() && now.Sub(said) < apart:
		case is && standing == "":
			standing, said = w.text(failed, ended, within), now
			say(standing)
		case is && now.Sub(said) >= repeat:
			said = now
			say(standing)
		case !is && standing != "":
			standing, said = "", now
			say("")
		}
	}
}

func (w *Watch) text(failed, ended uint64, within time.Duration) string {
	s := fmt.Sprintf("%d of %d within %v", failed, ended, within)
	if f := w.last.Load(); f != nil {
		s += ", the last: " + f.Error()
	}
	return text.Line(s, dynmesh.MaxSample)
}

// isMany says whether so many of those that ended are too many, or still are.
func isMany(failed, ended uint64, stands bool) bool {
	share := float64(failed) / float64(max(ended, 1))
	if stands {
		return share >= part/2
	}
	return failed >= least && share >= part
}

// sample is what the counters were at a moment.
type sample struct {
	at            time.Time
	failed, ended uint64
}

// counts are samples of the window, the oldest first.
type counts []sample

// add takes in a sample. Counters that went back begin anew.
func (c counts) add(s sample) counts {
	if n := len(c); n > 0 && (s.failed < c[n-1].failed || s.ended < c[n-1].ended) {
		c = nil
	}
	for len(c) > 0 && s.at.Sub(c[0].at) > window {
		c = c[1:]
	}
	return append(c, s)
}

// within returns what has happened of late.
func (c counts) within(d time.Duration) (failed, ended uint64) {
	last := c[len(c)-1]
	first := c[slices.IndexFunc(c, func(s sample) bool { return last.at.Sub(s.at) <= d })]
	return last.failed - first.failed, last.ended - first.ended
}
