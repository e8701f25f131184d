package failures

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/pairs"
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
	apart  = 15 * time.Second // it is not taken back sooner, nor said again, but for whose they are
)

// Watch notices that requests fail. Make it with [New].
type Watch struct {
	endpoint canary.Endpoint
	last     atomic.Pointer[dynmesh.Failure]
	peers    peers
}

// New watches the Activity of an endpoint. Where it CountsCanaries, those to pairs are taken off
// that the engine has brought to an end.
func New(e canary.Endpoint) *Watch { return &Watch{endpoint: e} }

// Failed takes note of why a request failed. It may be called from any goroutine.
func (w *Watch) Failed(f *dynmesh.Failure) { w.last.Store(f) }

// Ended takes note of a request whose prompt another engine has read, and why it failed; nil: it
// was answered. It is among the activity, too. It may be called from any goroutine.
func (w *Watch) Ended(p pairs.Peer, f *dynmesh.Failure) { w.peers.ended(p, f, false) }

// Asked is the same of a canary to a pair, which is no real request.
func (w *Watch) Asked(p pairs.Peer, f *dynmesh.Failure) { w.peers.ended(p, f, true) }

// Measure is dynmesh.MeasureFailures.
func (w *Watch) Measure() dynmesh.Measure { return dynmesh.MeasureFailures }

// Run says what it notices until ctx ends; "" where that is over.
func (w *Watch) Run(ctx context.Context, say func(sample string)) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	var seen, counted counts
	var standing finding
	var said time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		now := time.Now()
		a := w.endpoint.Activity()
		all, canaries := w.peers.list(now)
		seen = seen.add(sample{now, a.Errors, a.Completed + a.Errors})
		counted = counted.add(sample{now, canaries.Failed, canaries.Ended})
		found := w.conclude(seen, counted, all, standing)
		names := standing.text != "" && len(standing.peers) == 0 && len(found.peers) > 0
		switch {
		case !said.IsZero() && now.Sub(said) < apart && !names:
			continue
		case found.text == "" && standing.text != "":
			standing, said = finding{}, now
			say("")
		case found.text == "":
		case !slices.Equal(found.peers, standing.peers) || standing.text == "":
			standing, said = found, now
			say(standing.text)
		case now.Sub(said) >= repeat:
			said = now
			say(standing.text)
		}
		w.peers.stand(standing.peers)
	}
}

// finding is what there is to say.
type finding struct {
	text  string   // empty: nothing
	peers []string // whose requests fail, and no others do; none: all
}

// conclude returns what is to be said of what ended within window, or, where that is not said yet,
// within a third of it. Whose requests fail says more than that some do.
func (w *Watch) conclude(seen, counted counts, all []*peer, standing finding) finding {
	within := []time.Duration{window, window / 3}
	if len(standing.peers) > 0 {
		within = within[:1]
	}
	var some finding
	for _, d := range within {
		rows := make([]row, len(all))
		var canaries pairs.Count
		for n, p := range all {
			rows[n] = row{
				requests: p.seen.within(d), canaries: p.asked.within(d), stands: p.stands, inRow: p.inRow,
				remembered: seen[len(seen)-1].at.Sub(p.askedAt) < remembered,
				lately:     p.seen.within(window / 3).Plus(p.asked.within(window / 3)),
			}
			canaries = canaries.Plus(rows[n].canaries)
		}
		requests := seen.within(d)
		if w.endpoint.CountsCanaries {
			requests = requests.Without(counted.within(d))
		}
		if failing, others := concentrated(rows, requests.Plus(canaries)); len(failing) > 0 {
			return w.ofPeers(all, rows, failing, others, d)
		}
		for _, r := range rows {
			if r.stands { // that is told already
				requests = requests.Without(r.requests)
			}
		}
		stands := standing.text != "" && len(standing.peers) == 0
		if some.text == "" && (d == window || !stands) && isMany(requests.Failed, requests.Ended, stands) {
			some = finding{text: w.text(requests, d)}
		}
	}
	return some
}

// ofPeers names the first of them, as other workers do that find the same, and says how many there
// are.
func (w *Watch) ofPeers(all []*peer, rows []row, failing []int, others pairs.Count, within time.Duration) (f finding) {
	for _, n := range failing {
		f.peers = append(f.peers, all[n].Name())
	}
	first := all[failing[0]]
	s := pairs.Sample{Peer: first.Peer, Of: rows[failing[0]].all(), More: len(failing) - 1, Others: others, Within: within}
	if last := first.last; last != nil {
		s.Last = last.Error()
	}
	f.text = s.String()
	return f
}

func (w *Watch) text(of pairs.Count, within time.Duration) string {
	s := fmt.Sprintf("%v within %v", of, within)
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
func (c counts) within(d time.Duration) pairs.Count {
	last := c[len(c)-1]
	first := c[slices.IndexFunc(c, func(s sample) bool { return last.at.Sub(s.at) <= d })]
	return pairs.Count{Failed: last.failed - first.failed, Ended: last.ended - first.ended}
}
