package path

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// check is what is asked to settle a doubt and, after a failure, each further attempt.
type check struct {
	silent   bool          // it was begun for want of answers
	since    time.Duration // when the doubt arose
	began    time.Duration // when it was begun: again, when this process came late
	wait     time.Duration // how long it takes
	deadline time.Duration
	late     bool   // all has been waited for, but for a connection that is still in the line
	pings    int    // sent in it
	first    uint64 // nonce of the first of them
	accepted int    // connections that were made
	noWay    bool   // or there is no way to the host
	pause    time.Duration
}

// doubt begins a check.
func (h *heart) doubt(silent bool, now time.Duration, a *Actions) {
	h.phase = checking
	wait := closedWait
	switch {
	case h.degraded:
		wait = degradedWait
	case silent || h.rtt == 0:
		wait = silentWait
	}
	wait = max(wait, min(waitRTTs*h.rtt, maxWait))
	h.check = check{silent: silent, since: now, began: now, wait: wait, deadline: now + wait, first: h.nonce + 1}
	if !silent {
		h.proof = h.nonce + 1 // what it answered before it was gone may still be on its way
	}
	h.beat = now
	h.inquire(now, a)
}

// look asks, and judges when it is time.
func (h *heart) look(now time.Duration, late, unwell bool, a *Actions) {
	c := &h.check
	switch {
	case late && now-c.since > giveUp:
		h.lose(now, a)
		return
	case late: // once more: nobody has waited for the answers
		c.began, c.deadline, c.pings, h.beat = now, now+c.wait, 0, now
	case now >= c.deadline && h.ask == queued && !c.late:
		c.late, c.deadline = true, c.began+c.wait+queueWait
	case now >= c.deadline && (unwell || h.degraded && h.ask == queued):
		h.lose(now, a)
		return
	case now >= c.deadline:
		h.failSilent(now, a)
		return
	}
	if now < h.beat {
		return
	}
	h.ping(now, a)
	c.pings++
	h.beat = now + checkInterval
	if c.pings < hasty {
		h.beat = now + hastyInterval
	}
	if !c.silent && c.accepted > 0 && c.accepted < hasty {
		h.inquire(now, a) // a kernel that ends a process may close its port last
	}
}

func (h *heart) asking(now time.Duration) {
	if h.ask != queued {
		return
	}
	h.ask = running
	if h.phase == checking && h.check.late {
		h.check.late = false
		h.check.deadline = max(h.check.began+h.check.wait, now+askedWait)
	}
}

func (h *heart) asked(o Outcome, now time.Duration, a *Actions) {
	h.ask = idle
	switch {
	case h.phase == watching && h.degraded && o == Refused:
		h.doubt(false, now, a)
	case h.phase == watching: // an answer was faster
	case o == Refused:
		h.proof = h.nonce + 1
		h.fail(dynmesh.ReasonRefused, "its port of gossip refuses connections", now, a)
	case o == Unreachable:
		h.check.noWay = true
	case o == Accepted:
		h.check.accepted++
		if h.phase == checking {
			h.check.deadline = max(h.check.deadline, now+askedWait)
		}
	case o == TimedOut && h.phase == checking && now+askedWait < h.check.deadline:
		h.inquire(now, a)
	}
}

// failSilent is a failure for want of answers, in the words that tell most.
func (h *heart) failSilent(now time.Duration, a *Actions) {
	switch {
	case h.check.accepted > 0:
		h.fail(dynmesh.ReasonFrozen, "accepts connections but does not answer", now, a)
	case h.check.noWay:
		h.fail(dynmesh.ReasonUnreachable, "no answer, and no way to its host", now, a)
	default:
		h.fail(dynmesh.ReasonTimeout, "no answer, and no connection", now, a)
	}
}

// fail says that the worker cannot be reached. Where that has been said, only a better reason replaces the first.
func (h *heart) fail(r dynmesh.Reason, detail string, now time.Duration, a *Actions) {
	if h.finding.Finding != dynmesh.Fail || r != dynmesh.ReasonTimeout {
		h.finding = Finding{dynmesh.Fail, r, detail}
	}
	h.rest(now, a)
}

// lose takes back what was said: this process is in no state to say anything.
func (h *heart) lose(now time.Duration, a *Actions) {
	h.finding = Finding{}
	h.rest(now, a)
}

// rest begins the first pause.
func (h *heart) rest(now time.Duration, a *Actions) {
	if h.phase == failed {
		return
	}
	h.phase, h.degraded = failed, false
	h.check.pause, h.check.pings = minPause, hasty
	h.check.deadline = now + h.jitter.about(minPause)
	a.Close = h.tripwire.close()
}

// retry asks again after each pause. The first right answer ends it.
func (h *heart) retry(now time.Duration, late, unwell bool, a *Actions) {
	c := &h.check
	if now >= c.deadline {
		if h.finding.Finding == "" && !late && !unwell {
			h.failSilent(now, a)
		}
		c.pause = min(2*c.pause, maxPause)
		c.deadline, c.pings, h.beat = now+h.jitter.about(c.pause), 0, now
		c.first, c.accepted, c.noWay = h.nonce+1, 0, false
		h.inquire(now, a)
	}
	if c.pings < hasty && now >= h.beat {
		h.ping(now, a)
		c.pings++
		h.beat = now + hastyInterval
	}
}
