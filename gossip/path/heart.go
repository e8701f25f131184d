package path

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// heart is the watch over a member's process, by its gossip.
type heart struct {
	jitter   jitter
	phase    phase
	finding  Finding
	rtt      time.Duration // smoothed; 0: not known
	degraded bool          // answers come by TCP only

	nonce uint64              // of the last ping
	sent  [ring]time.Duration // when the last ones were sent, by nonce
	tcp   uint64              // which of them by TCP, a bit each
	proof uint64              // answers to earlier pings prove nothing
	beat  time.Duration       // when the next one goes out

	misses   int // heartbeats since the last answer, but for those of which nothing can be said
	unheard  int // all of them
	ask      ask
	tripwire tripwire
	check    check // while there is a doubt, or a failure
}

const ring = 64 // as many as go out in maxAge, and more than a check can send

// phase is what the heart is about.
type phase uint8

const (
	watching phase = iota // answers come, or are waited for
	checking              // there is a doubt
	failed                // there is none, or nothing can be said; the worker is asked again from time to time
)

// ask is how far the connection is that helps to settle a doubt.
type ask uint8

const (
	idle   ask = iota
	queued     // it has not been begun
	running
)

// newHeart begins to watch. Heartbeats of watches that begin together do not go out together.
func newHeart(seed uint64, now time.Duration) heart {
	h := heart{jitter: jitter(seed), nonce: mix(seed) >> 1}
	h.proof = h.nonce + 1
	h.beat = now + h.jitter.within(heartbeat)
	h.tripwire.at = now
	return h
}

func (h *heart) step(e Event, now time.Duration, late bool, a *Actions) {
	switch e.Kind {
	case Ponged:
		h.pong(e, now, a)
	case Asking:
		h.asking(now)
	case Asked:
		h.asked(e.Outcome, now, a)
	case Opened:
		h.tripwire.opened(e.Outcome, now, &h.jitter)
	case Tripped:
		if h.tripwire.tripped(now, &h.jitter) && h.phase == watching {
			h.doubt(false, now, a)
		}
	case Inherited:
		if h.phase == watching {
			h.doubt(true, now, a)
		}
	case Tick, Connected, Readdressed: // what is due
	}
	switch h.phase {
	case watching:
		h.watch(now, late, a)
	case checking:
		h.look(now, late, e.Unwell, a)
	case failed:
		h.retry(now, late, e.Unwell, a)
	}
}

// wake is when something is due next.
func (h *heart) wake() time.Duration {
	switch {
	case h.phase == watching && h.finding.Finding == dynmesh.Pass:
		return min(h.beat, h.tripwire.due())
	case h.phase == watching:
		return h.beat
	case h.phase == failed && h.check.pings >= hasty:
		return h.check.deadline
	default:
		return min(h.beat, h.check.deadline)
	}
}

// watch sends heartbeats, and doubts when too many of them had no answer.
func (h *heart) watch(now time.Duration, late bool, a *Actions) {
	if h.finding.Finding == dynmesh.Pass && h.tripwire.open(now) {
		a.Open = true
	}
	if late {
		h.misses = max(0, h.misses-1) // the answer may wait to be read
	}
	if now < h.beat {
		return
	}
	interval, limit := heartbeat, maxMisses
	if h.degraded {
		interval, limit = degradedHeartbeat, degradedMisses
	}
	if h.misses >= limit || h.unheard >= starvedMisses {
		h.doubt(true, now, a)
		return
	}
	h.ping(now, a)
	h.unheard++
	if !h.degraded || h.ask != queued { // in our own line, nothing is missed
		h.misses++
	}
	if h.degraded {
		h.inquire(now, a)
	}
	h.beat = now + h.jitter.about(interval)
}

// pong is a sign of life, or of another process in the worker's place.
func (h *heart) pong(e Event, now time.Duration, a *Actions) {
	sent := h.sent[e.Nonce%ring]
	if !h.holds(e.Nonce) || e.Nonce < h.proof || now-sent > maxAge {
		return
	}
	if e.Other {
		h.other(e.Nonce, now, a)
		return
	}
	if h.tcp&(1<<(e.Nonce%ring)) != 0 {
		h.degraded = h.degraded || h.phase == checking && h.check.silent
	} else {
		h.degraded = false
		h.sample(now - sent)
	}
	h.misses, h.unheard = 0, 0
	h.finding = Finding{Finding: dynmesh.Pass}
	if h.phase != watching {
		h.phase = watching
		h.beat = now + h.jitter.about(heartbeat)
	}
}

// holds reports whether it is known when the ping was sent.
func (h *heart) holds(nonce uint64) bool { return nonce <= h.nonce && h.nonce-nonce < ring }

// other is told that another process has answered. While both do, for both are reached by one address, the worker lives.
func (h *heart) other(nonce uint64, now time.Duration, a *Actions) {
	switch {
	case h.phase == watching:
		h.doubt(false, now, a)
	case nonce >= h.check.first:
		h.fail(dynmesh.ReasonUnreachable, "another process answers there", now, a)
	}
}

func (h *heart) sample(rtt time.Duration) {
	if h.rtt == 0 {
		h.rtt = rtt
	}
	h.rtt += (rtt - h.rtt) / 8
}

func (h *heart) ping(now time.Duration, a *Actions) { a.Ping, a.Pinged = true, h.next(now, false) }

// inquire has a connection made, unless one is under way.
func (h *heart) inquire(now time.Duration, a *Actions) {
	if h.ask == idle {
		h.ask = queued
		a.Ask, a.AskedBy = true, h.next(now, true)
	}
}

// next returns the nonce of a ping that goes out now.
func (h *heart) next(now time.Duration, tcp bool) uint64 {
	h.nonce++
	i := h.nonce % ring
	h.sent[i] = now
	h.tcp &^= 1 << i
	if tcp {
		h.tcp |= 1 << i
	}
	return h.nonce
}
