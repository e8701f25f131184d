package watch

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// processProbe watches a member's process, by its gossip.
type processProbe struct {
	jitter   jitter
	phase    phase
	finding  Finding
	rtt      time.Duration // smoothed; 0: not known
	degraded bool          // answers come by TCP only
	deaf     bool          // it refused connections and lives: until it accepts one, that is no news

	nonce      uint64              // of the last ping
	sent       [ring]time.Duration // when the last ones were sent, by nonce
	tcp        uint64              // which of them by TCP, a bit each
	provenFrom uint64              // answers to earlier pings prove nothing
	nextPing   time.Duration       // when the next one goes out

	spoke    time.Duration // when a word of its own came last by others; before the first: too long ago to count
	failedAt time.Duration // when it was last found to fail

	misses       int // heartbeats since the last answer, but for those of which nothing can be said
	unanswered   int // all of them
	dial         dialState
	tripwire     tripwire
	verification verification // while there is a doubt, or a failure
}

const ring = 64 // as many as go out in maxAge, and more than a verification can send

// phase is what a processProbe is about.
type phase uint8

const (
	watching  phase = iota // answers come, or are waited for
	verifying              // there is a doubt
	failed                 // it has failed, or nothing can be said; it is asked again from time to time
)

// dialState is how far the connection is that helps to settle a doubt.
type dialState uint8

const (
	idle   dialState = iota
	queued           // it has not been begun
	running
)

// newProcessProbe begins to watch. Heartbeats of watches that begin together do not go out
// together.
func newProcessProbe(seed uint64, now time.Duration) processProbe {
	p := processProbe{jitter: jitter(seed), nonce: Mix(seed) >> 1, spoke: now - wordAge}
	p.provenFrom = p.nonce + 1
	p.nextPing = now + p.jitter.within(heartbeat)
	p.tripwire.at = now
	return p
}

func (p *processProbe) step(e Event, now time.Duration, late bool, a *Actions) {
	switch e.Kind {
	case Ponged:
		p.pong(e, now, a)
	case DialStarted:
		p.dialStarted(now)
	case GossipDialed:
		p.gossipDialed(e.Outcome, now, a)
	case TripwireOpened:
		p.deaf = p.deaf && e.Outcome != Accepted
		if p.tripwire.opened(e.Outcome, now, &p.jitter) && p.phase == watching && !p.deaf {
			p.suspect(false, now, a)
		}
	case TripwireClosed:
		if p.tripwire.closed(now, &p.jitter) && p.phase == watching {
			p.suspect(false, now, a)
		}
	case Inherited:
		if p.phase == watching {
			p.suspect(true, now, a)
		}
	case Spoke:
		p.heard(now)
	case Tick, ServiceDialed, Readdressed: // what is due
	}
	switch p.phase {
	case watching:
		p.sendHeartbeats(now, late, a)
	case verifying:
		p.verify(now, late, e.Unhealthy, a)
	case failed:
		p.retry(now, late, e.Unhealthy, a)
	}
}

// wake is when something is due next.
func (p *processProbe) wake() time.Duration {
	if p.phase == watching {
		return min(p.nextPing, p.tripwire.due())
	}
	at := p.verification.deadline
	if p.phase == verifying || p.verification.pings < quickPings {
		at = min(at, p.nextPing)
	}
	if p.speaks() {
		at = min(at, p.spoke+wordAge)
	}
	return at
}

// sendHeartbeats sends heartbeats, and verifies when too many of them had no answer.
func (p *processProbe) sendHeartbeats(now time.Duration, late bool, a *Actions) {
	if p.tripwire.open(now) { // at once: a process may end before it has answered
		a.OpenTripwire = true
	}
	if late {
		p.misses = max(0, p.misses-1) // the answer may wait to be read
	}
	if now < p.nextPing {
		return
	}
	interval, limit := heartbeat, maxMisses
	if p.degraded {
		interval, limit = degradedHeartbeat, degradedMisses
	}
	if p.misses >= limit || p.unanswered >= starvedMisses {
		p.suspect(true, now, a)
		return
	}
	p.ping(now, a)
	p.unanswered++
	if !p.degraded || p.dial != queued { // in our own queue, nothing is missed
		p.misses++
	}
	if p.degraded {
		p.dialGossip(now, a)
	}
	p.nextPing = now + p.jitter.about(interval)
}

// pong is a sign of life, or of another process in the worker's place.
func (p *processProbe) pong(e Event, now time.Duration, a *Actions) {
	sent := p.sent[e.Nonce%ring]
	if !p.sentRecently(e.Nonce) || e.Nonce < p.provenFrom || now-sent > maxAge {
		return
	}
	if e.Other {
		p.impostor(e.Nonce, now, a)
		return
	}
	if p.tcp&(1<<(e.Nonce%ring)) != 0 {
		p.degraded = p.degraded || p.phase == verifying && p.verification.silent
	} else {
		p.degraded = false
		p.sample(now - sent)
	}
	p.misses, p.unanswered = 0, 0
	p.deaf = p.deaf || p.finding.Reason == dynmesh.ReasonRefused
	p.finding = Finding{Finding: dynmesh.Pass}
	if p.phase != watching {
		p.phase = watching
		p.nextPing = now + p.jitter.about(heartbeat)
	}
}

// sentRecently reports whether it is known when the ping was sent.
func (p *processProbe) sentRecently(nonce uint64) bool {
	return nonce <= p.nonce && p.nonce-nonce < ring
}

// impostor takes an answer of another process. While both answer, for both are reached by one
// address, the worker lives.
func (p *processProbe) impostor(nonce uint64, now time.Duration, a *Actions) {
	switch {
	case p.phase == watching:
		p.suspect(false, now, a)
	case nonce >= p.verification.first:
		p.fail(dynmesh.ReasonUnreachable, "another process answers there", now, a)
	}
}

func (p *processProbe) sample(rtt time.Duration) {
	if p.rtt == 0 {
		p.rtt = rtt
	}
	p.rtt += (rtt - p.rtt) / 8
}

func (p *processProbe) ping(now time.Duration, a *Actions) {
	a.Ping, a.PingNonce = true, p.next(now, false)
}

// dialGossip has a connection made, unless one is under way.
func (p *processProbe) dialGossip(now time.Duration, a *Actions) {
	if p.dial == idle {
		p.dial = queued
		a.DialGossip, a.StreamNonce = true, p.next(now, true)
	}
}

// next returns the nonce of a ping that goes out now.
func (p *processProbe) next(now time.Duration, tcp bool) uint64 {
	p.nonce++
	i := p.nonce % ring
	p.sent[i] = now
	p.tcp &^= 1 << i
	if tcp {
		p.tcp |= 1 << i
	}
	return p.nonce
}
