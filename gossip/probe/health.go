package probe

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// A watcher that hears nobody may itself be what is cut off, and then a worker's silence says
// nothing of the worker. (Lifeguard calls it local health.) A watcher is well when somebody else
// has answered it within healthyFor. Where too few answer anyway, it pings some members whenever it
// verifies a doubt.
//
// memberlist's health score says less: each probe of its own that fails raises it by up to 3, since
// with its default times the answers by which others say that they could not reach the member
// either come a moment too late. So the score is highest at those who have just noticed that
// somebody died.
const (
	healthyFor      = time.Second
	suspicious      = 4 * time.Second // as long as a verification, or a burst of dials
	witnessInterval = 200 * time.Millisecond
	witnessCount    = 3
)

// localHealth is what a process knows of its own hearing.
type localHealth struct {
	recent [2]answer     // the last two members that have answered
	until  time.Duration // when the last doubt is over
	next   time.Duration // when witnesses are pinged next
	nonce  uint64        // of the last ping to a witness
	pinged bool          // there was one
}

type answer struct {
	from dynmesh.InstanceID
	at   time.Duration
}

func newLocalHealth(nonce uint64) localHealth {
	return localHealth{nonce: nonce >> 1, recent: [2]answer{{at: -healthyFor}, {at: -healthyFor}}}
}

// answered notes that somebody has answered.
func (h *localHealth) answered(from dynmesh.InstanceID, now time.Duration) {
	if h.recent[0].from != from {
		h.recent[1] = h.recent[0]
	}
	h.recent[0] = answer{from, now}
}

// well reports whether somebody else has answered of late.
func (h *localHealth) well(except dynmesh.InstanceID, now time.Duration) bool {
	for _, a := range h.recent {
		if a.from != 0 && a.from != except && now-a.at < healthyFor {
			return true
		}
	}
	return false
}

// suspect has witnesses pinged for a while.
func (h *localHealth) suspect(now time.Duration) {
	if h.until <= now {
		h.next = now
	}
	h.until = now + suspicious
}

// due reports whether to ping witnesses now. Two that have just answered are enough: whichever of
// them is the one in doubt, the other is not.
func (h *localHealth) due(now time.Duration) bool {
	if now >= h.until {
		h.next = h.until // so that wake has nothing due, whatever earlier time it is asked about
		return false
	}
	if now < h.next {
		return false
	}
	h.next = now + witnessInterval
	return h.recent[1].from == 0 || now-h.recent[1].at >= healthyFor/2
}

// wake is when witnesses are due, if anything is in doubt.
func (h *localHealth) wake(now time.Duration) time.Duration {
	if h.next < h.until && now < h.until {
		return h.next
	}
	return never
}

// sent reports whether a ping of that nonce was among the last ones to witnesses.
func (h *localHealth) sent(nonce uint64) bool {
	return h.pinged && nonce <= h.nonce && h.nonce-nonce < 64
}
