package watch

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// verification is what is asked to settle a doubt and, after a failure, each further attempt.
type verification struct {
	silent   bool          // it was begun for want of answers
	since    time.Duration // when the doubt arose
	began    time.Duration // when it was begun: again, when this process came late
	wait     time.Duration // how long it takes
	deadline time.Duration
	overdue  bool   // all has been waited for, but for a connection that is still in the queue
	pings    int    // sent in it
	first    uint64 // nonce of the first of them
	accepted int    // connections that were made
	noWay    bool   // or there is no way to the host
	pause    time.Duration
}

// suspect begins a verification.
func (p *processProbe) suspect(silent bool, now time.Duration, a *Actions) {
	p.phase = verifying
	wait := closedWait
	switch {
	case p.degraded:
		wait = degradedWait
	case silent || p.rtt == 0:
		wait = silentWait
	}
	wait = max(wait, min(waitRTTs*p.rtt, maxWait))
	p.verification = verification{
		silent: silent, since: now, began: now, wait: wait, deadline: now + wait, first: p.nonce + 1,
	}
	if !silent {
		p.provenFrom = p.nonce + 1 // what it answered before it was gone may still be on its way
	}
	p.nextPing = now
	p.dialGossip(now, a)
}

// verify asks, and judges when it is time.
func (p *processProbe) verify(now time.Duration, late, unwell bool, a *Actions) {
	c := &p.verification
	switch {
	case late && now-c.since > giveUp:
		p.abstain(now, a)
		return
	case late: // once more: nobody has waited for the answers
		c.began, c.deadline, c.pings, p.nextPing = now, now+c.wait, 0, now
	case now >= c.deadline && p.dial == queued && !c.overdue:
		c.overdue, c.deadline = true, c.began+c.wait+queueWait
	case now >= c.deadline && (unwell || p.degraded && p.dial == queued):
		p.abstain(now, a)
		return
	case now >= c.deadline:
		p.failSilent(now, a)
		return
	}
	if now < p.nextPing {
		return
	}
	p.ping(now, a)
	c.pings++
	p.nextPing = now + verifyInterval
	if c.pings < quickPings {
		p.nextPing = now + quickInterval
	}
	if !c.silent && c.accepted > 0 && c.accepted < quickPings {
		p.dialGossip(now, a) // a kernel that ends a process may close its port last
	}
}

func (p *processProbe) dialStarted(now time.Duration) {
	if p.dial != queued {
		return
	}
	p.dial = running
	if p.phase == verifying && p.verification.overdue {
		p.verification.overdue = false
		p.verification.deadline = max(p.verification.began+p.verification.wait, now+answerWait)
	}
}

func (p *processProbe) gossipDialed(o Outcome, now time.Duration, a *Actions) {
	p.dial = idle
	p.deaf = p.deaf && o != Accepted
	switch {
	case p.phase == watching && p.degraded && o == Refused:
		p.suspect(false, now, a)
	case p.phase == watching, o == Refused && p.deaf: // an answer was faster, or is to be waited for
	case o == Refused:
		p.provenFrom = p.nonce + 1
		p.fail(dynmesh.ReasonRefused, "its port of gossip refuses connections", now, a)
	case o == Unreachable:
		p.verification.noWay = true
	case o == Accepted:
		p.verification.accepted++
		if p.phase == verifying {
			p.verification.deadline = max(p.verification.deadline, now+answerWait)
		}
	case o == TimedOut && p.phase == verifying && now+answerWait < p.verification.deadline:
		p.dialGossip(now, a)
	}
}

// failSilent is a failure for want of answers, in the words that tell most; but none where the
// worker's own word comes by another way.
func (p *processProbe) failSilent(now time.Duration, a *Actions) {
	switch {
	case now-p.spoke < wordAge:
		p.believe()
		p.backOff(now, a)
	case p.verification.accepted > 0:
		p.fail(dynmesh.ReasonFrozen, "accepts connections but does not answer", now, a)
	case p.verification.noWay:
		p.fail(dynmesh.ReasonUnreachable, "no answer, and no way to its host", now, a)
	default:
		p.fail(dynmesh.ReasonTimeout, "no answer, and no connection", now, a)
	}
}

// fail says that the worker cannot be reached. Where that has been said, only a better reason
// replaces the first. What becomes of its port of gossip says nothing of one that speaks.
func (p *processProbe) fail(r dynmesh.Reason, detail string, now time.Duration, a *Actions) {
	if p.speaks() {
		return
	}
	if p.finding.Finding != dynmesh.Fail || r != dynmesh.ReasonTimeout {
		p.finding, p.failedAt = Finding{dynmesh.Fail, r, detail}, now
	}
	p.backOff(now, a)
}

// heard takes a word of the worker's own. One that died has said its last as it did so, which comes
// later by others: what refuses connections is believed only when it goes on.
func (p *processProbe) heard(now time.Duration) {
	p.spoke = now
	if p.phase == failed && (p.finding.Reason != dynmesh.ReasonRefused || now-p.failedAt >= lastWords) {
		p.believe()
	}
}

// believe takes the worker's own word for it that its process is there.
func (p *processProbe) believe() {
	p.finding = Finding{dynmesh.Pass, dynmesh.ReasonUnreachable, "its port of gossip does not answer, and its own word comes by other ways"}
}

// speaks reports whether nothing but its own word says that it is there.
func (p *processProbe) speaks() bool {
	return p.phase == failed && p.finding.Finding == dynmesh.Pass
}

// abstain takes back what was said: this process is in no state to say anything.
func (p *processProbe) abstain(now time.Duration, a *Actions) {
	p.finding = Finding{}
	p.backOff(now, a)
}

// backOff begins the first pause.
func (p *processProbe) backOff(now time.Duration, a *Actions) {
	if p.phase == failed {
		return
	}
	p.phase, p.degraded = failed, false
	p.verification.pause, p.verification.pings = minPause, quickPings
	p.verification.deadline = now + p.jitter.about(minPause)
	a.CloseTripwire = p.tripwire.close()
}

// retry asks again after each pause. The first right answer ends it.
func (p *processProbe) retry(now time.Duration, late, unwell bool, a *Actions) {
	c := &p.verification
	if p.speaks() && now-p.spoke >= wordAge { // it may be heard again
		p.suspect(true, now, a)
		p.verify(now, late, unwell, a)
		return
	}
	if now >= c.deadline {
		if p.finding.Finding == "" && !late && !unwell {
			p.failSilent(now, a)
		}
		c.pause = min(2*c.pause, maxPause)
		c.deadline, c.pings, p.nextPing = now+p.jitter.about(c.pause), 0, now
		c.first, c.accepted, c.noWay = p.nonce+1, 0, false
		p.dialGossip(now, a)
	}
	if c.pings < quickPings && now >= p.nextPing {
		p.ping(now, a)
		c.pings++
		p.nextPing = now + quickInterval
	}
}
