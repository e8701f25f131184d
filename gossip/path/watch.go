package path

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// Watch is one watcher's view of one worker that is a member. It is a value: Step takes one and returns the next, looks at no
// clock, and does nothing but say what is to be done. Times are since a moment of the caller's choice.
type Watch struct {
	heart heart
	port  port
	said  Finding
	wake  time.Duration
}

// NewMember returns a watch over a member, which must be stepped at once. service says that it has a port of requests. Watches
// differ in their jitter by the seed.
func NewMember(seed uint64, service bool, now time.Duration) Watch {
	return Watch{heart: newHeart(seed, now), port: newPort(mix(seed), service, servicePeriod, now), wake: never}
}

// Step is what was, and what happens, to what is, and what to do.
func (w Watch) Step(e Event, now time.Duration) (Watch, Actions) {
	var a Actions
	w.heart.step(e, now, now-w.wake > lateness, &a)
	reach := w.heart.phase == watching && w.heart.finding.Finding == dynmesh.Pass
	w.port.step(e, now, reach, &a)
	said := w.conclude()
	a.Changed = said != w.said
	w.said = said
	w.wake = w.heart.wake()
	if reach {
		w.wake = min(w.wake, w.port.due())
	}
	a.Wake = w.wake
	return w, a
}

// conclude takes the worse of what the two signs say. Nothing is said before both have been seen.
func (w *Watch) conclude() Finding {
	if w.heart.finding.Finding != dynmesh.Pass || !w.port.there {
		return w.heart.finding
	}
	return w.port.finding
}

// Finding is what is to be said of the worker now.
func (w *Watch) Finding() Finding { return w.said }

// RTT is the smoothed time in which it answers; 0 where that is not known.
func (w *Watch) RTT() time.Duration { return w.heart.rtt }

// Degraded says that it answers over TCP and not over UDP.
func (w *Watch) Degraded() bool { return w.heart.degraded }

// Sent reports whether a ping of that nonce was among the last ones that were sent.
func (w *Watch) Sent(nonce uint64) bool { return w.heart.holds(nonce) }
