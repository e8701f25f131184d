package path

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// port is the watch over a port of requests: whether it accepts connections.
type port struct {
	jitter  jitter
	there   bool
	period  time.Duration
	finding Finding

	at       time.Duration // when the next attempt is due
	next     Effort        // what it is to be
	trying   Effort        // the one under way
	moved    bool          // the one under way goes to where the port was before
	repeated bool          // the next attempt repeats a failure
	pause    time.Duration // after a failure
}

func newPort(seed uint64, there bool, period, first time.Duration) port {
	return port{jitter: jitter(seed), there: there, period: period, next: Once, at: first}
}

// step: may says that it is worth trying.
func (p *port) step(e Event, now time.Duration, may bool, a *Actions) {
	switch {
	case e.Kind == Connected && p.trying != None:
		p.connected(e, now)
	case e.Kind == Readdressed:
		p.readdressed(e.Service, now)
	}
	if may && now >= p.due() {
		p.trying = p.next
		a.Connect = p.next
	}
}

// due is when the next attempt is.
func (p *port) due() time.Duration {
	if !p.there || p.trying != None {
		return never
	}
	return p.at
}

// readdressed: what was found of the old port stands until there is something to be said of the new one.
func (p *port) readdressed(there bool, now time.Duration) {
	p.there, p.moved = there, p.trying != None
	p.at, p.next, p.repeated = now, Once, false
	if !there {
		p.finding = Finding{}
	}
}

func (p *port) connected(e Event, now time.Duration) {
	tried := p.trying
	p.trying = None
	switch {
	case p.moved:
		p.moved, p.at = false, now
	case e.Outcome == Accepted:
		p.finding = Finding{Finding: dynmesh.Pass}
		p.again(Once, now+p.jitter.about(p.period))
	case e.Outcome == Void:
		p.again(p.next, now+p.jitter.about(p.period))
	case p.finding.Finding == dynmesh.Fail:
		p.fail(e.Outcome, now)
	case e.Outcome == TimedOut && tried == Once:
		p.again(Burst, now)
	case e.Outcome != TimedOut && tried == Once && !p.repeated:
		p.again(Once, now+p.jitter.about(repeatPause))
		p.repeated = true
	case e.Outcome != Refused && e.Unwell:
		p.finding = Finding{}
		p.again(Once, now+p.jitter.about(p.period))
	default:
		p.pause = 0
		p.fail(e.Outcome, now)
	}
}

// again sets the next attempt.
func (p *port) again(e Effort, at time.Duration) { p.next, p.at, p.repeated = e, at, false }

// fail says that nobody can connect. Where that has been said, only a better reason replaces the first.
func (p *port) fail(o Outcome, now time.Duration) {
	if p.finding.Finding != dynmesh.Fail || o == Refused {
		p.finding = Finding{dynmesh.Fail, dynmesh.ReasonTimeout, "its port of requests accepts no connection"}
		switch o {
		case Refused:
			p.finding = Finding{dynmesh.Fail, dynmesh.ReasonRefused, "its port of requests refuses connections"}
		case Unreachable:
			p.finding = Finding{dynmesh.Fail, dynmesh.ReasonUnreachable, "there is no way to its port of requests"}
		}
	}
	p.pause = min(max(2*p.pause, minPause), maxPause)
	p.again(Once, now+p.jitter.about(p.pause))
}
