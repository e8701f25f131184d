package gossip

import (
	"math/rand/v2"
	"time"

	"github.com/dynmesh/dynmesh"
)

// A watcher that hears nobody may be what is cut off, and then the silence of a worker says nothing of the worker. It is well when
// somebody else has answered it within wellFor. Where too few answer anyway, it asks some members whenever it has a doubt.
//
// memberlist's health score says less: each probe of its own that fails raises it by up to 3, since with its default times the answers
// by which others say that they could not reach the member either come a moment too late. So it is highest at those who
// have just noticed that somebody died.
const (
	wellFor         = time.Second
	doubtFor        = 4 * time.Second // as long as a check, or a burst of connects
	witnessInterval = 200 * time.Millisecond
	witnesses       = 3
)

// selfTest is what a process knows of its own hearing.
type selfTest struct {
	last  [2]heard      // the last two that have answered
	until time.Duration // when the doubts are over
	next  time.Duration // when witnesses are asked next
	nonce uint64        // of the last question
	asked int           // how often they were asked
}

type heard struct {
	who dynmesh.InstanceID
	at  time.Duration
}

func newSelfTest() selfTest {
	return selfTest{nonce: rand.Uint64() >> 1, last: [2]heard{{at: -wellFor}, {at: -wellFor}}}
}

// hear notes that somebody has answered.
func (t *selfTest) hear(who dynmesh.InstanceID, now time.Duration) {
	if t.last[0].who != who {
		t.last[1] = t.last[0]
	}
	t.last[0] = heard{who, now}
}

// hears reports whether somebody else has answered of late.
func (t *selfTest) hears(except dynmesh.InstanceID, within, now time.Duration) bool {
	for _, h := range t.last {
		if h.who != 0 && h.who != except && now-h.at < within {
			return true
		}
	}
	return false
}

// doubt has witnesses asked for a while.
func (t *selfTest) doubt(now time.Duration) {
	if t.until <= now {
		t.next = now
	}
	t.until = now + doubtFor
}

// due reports whether to ask now. Two who have just answered are enough: whoever is in doubt, one of them is another.
func (t *selfTest) due(now time.Duration) bool {
	if now >= t.until || now < t.next {
		return false
	}
	t.next = now + witnessInterval
	return t.last[1].who == 0 || now-t.last[1].at >= wellFor/2
}

// wake is when to look again, if anyone is in doubt.
func (t *selfTest) wake(now time.Duration) (at time.Duration, ok bool) {
	return t.next, t.next < t.until && now < t.until
}

// sent reports whether an answer belongs to one of the last questions.
func (t *selfTest) sent(nonce uint64) bool {
	return nonce <= t.nonce && t.nonce-nonce < 64 && t.asked > 0
}

// askWitnesses sends pings to some members, if it is time.
func (p *paths) askWitnesses(now time.Duration) {
	if !p.self.due(now) {
		return
	}
	for _, m := range p.loop.pick(witnesses) {
		p.self.nonce++
		p.self.asked++
		p.loop.sendPing(m, p.self.nonce, false)
	}
}

// unwell is where what this process does not hear of a worker says nothing: there are others, and it does not hear them either.
func (p *paths) unwell(worker dynmesh.InstanceID) bool {
	if p.self.hears(worker, wellFor, p.now()) {
		return false
	}
	for id, m := range p.loop.members {
		if id != worker && id != p.loop.pool.self.ID && m.alive() {
			return true
		}
	}
	return false
}
