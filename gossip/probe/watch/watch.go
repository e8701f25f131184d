package watch

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// Member is one watcher's view of one worker that is a member. It is a value: Step takes one and
// returns the next, looks at no clock, and does nothing but say what is to be done. Times are since
// a moment of the caller's choice.
type Member struct {
	process  processProbe
	service  serviceProbe
	reported Finding
	wake     time.Duration
}

// NewMember returns a watch over a member, which must be stepped at once. service says that the
// member has a port of requests. Watches differ in their jitter by the seed.
func NewMember(seed uint64, service bool, now time.Duration) Member {
	return Member{
		process: newProcessProbe(seed, now), service: newServiceProbe(Mix(seed), service, servicePeriod, now), wake: never,
	}
}

// Step is what was, and what happens, to what is, and what to do.
func (w Member) Step(e Event, now time.Duration) (Member, Actions) {
	var a Actions
	spoke := w.process.speaks()
	w.process.step(e, now, now-w.wake > lateness, &a)
	speaks := w.process.speaks()
	reach := w.process.finding.Finding == dynmesh.Pass && (speaks || w.process.phase == watching)
	switch {
	case speaks && !spoke:
		w.service.recheck(0, true, now)
	case speaks:
		w.service.recheck(wordPeriod, false, now)
	}
	w.service.step(e, now, reach, &a)
	said := w.conclude()
	a.Changed = said != w.reported
	w.reported = said
	w.wake = w.process.wake()
	if reach {
		w.wake = min(w.wake, w.service.due())
	}
	a.Wake = w.wake
	return w, a
}

// conclude takes the worse of what the two signs say. Nothing is said before both have been seen.
func (w *Member) conclude() Finding {
	if w.process.finding.Finding != dynmesh.Pass || !w.service.there || w.process.finding.Reason != "" && w.service.finding.Finding == dynmesh.Pass {
		return w.process.finding
	}
	return w.service.finding
}

// Finding is what is to be said of the worker now.
func (w *Member) Finding() Finding { return w.reported }

// RTT is the smoothed time in which it answers; 0 where that is not known.
func (w *Member) RTT() time.Duration { return w.process.rtt }

// Degraded says that it answers over TCP and not over UDP.
func (w *Member) Degraded() bool { return w.process.degraded }

// Sent reports whether a ping of that nonce was among the last ones that were sent.
func (w *Member) Sent(nonce uint64) bool { return w.process.sentRecently(nonce) }
