package pair

import (
	"maps"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
)

const (
	// period is the time from one canary to the next, where no more than perPrefill decode for each
	// that prefills: else each of them waits longer, so that nobody who prefills is asked more often
	// than once a period / perPrefill.
	period     = 2 * time.Second
	perPrefill = 4

	again   = 3                // canaries in a row after a change, of which the first is one
	backoff = 10 * time.Second // from one canary to a pair that is known to fail to its next
)

// schedule says which worker is asked next, and when. It is pure.
//
//	fails for the first time     it is asked again at once, until again have failed
//	goes on to fail              in its turn, and not more often than each backoff: what it has read
//	                             for nothing takes the room of its KV cache for minutes
//	says nothing of the pair     the same: it may have read, and nobody has fetched it
//	works again                  it is asked again at once, until again were answered
type schedule struct {
	tries map[dynmesh.InstanceID]*try
	last  time.Time // when the last one ended
	row   int       // of canaries that were sent out of turn
	from  uint64    // whom to begin with: all that decode begin at once after an upgrade, each with another
}

// try is what became of a worker's canaries.
type try struct {
	at     time.Time // of the last; zero: there was none
	failed bool
	void   bool // the last said nothing
	row    int  // so many had the same end
}

// next returns whom to ask now; not ok: nobody, yet.
func (s *schedule) next(all []Prefill, decodes int, now time.Time) (p Prefill, ok bool) {
	if now.Sub(s.last) < max(period, period*time.Duration(decodes)/time.Duration(perPrefill*max(1, len(all)))) {
		return Prefill{}, false
	}
	s.forget(all)
	var best *try
	before := func(a, b *try) bool {
		if a.isUrgent() != b.isUrgent() && s.row < again-1 {
			return a.isUrgent()
		}
		return a.at.Before(b.at)
	}
	for n := range all {
		one := all[(n+int(s.from%uint64(len(all))))%len(all)]
		t := s.tries[one.ID]
		if t == nil {
			t = &try{row: again}
			s.tries[one.ID] = t
		}
		if (t.void || t.failed && t.row >= again) && now.Sub(t.at) < backoff {
			continue
		}
		if best == nil || before(t, best) {
			p, best = one, t
		}
	}
	return p, best != nil
}

// isUrgent says that something has changed, and is to be confirmed. One that changes all the time
// still leaves others their turns.
func (t *try) isUrgent() bool { return t.row < again }

// asked takes in what became of a canary. One that says nothing of its pair counts as none.
func (s *schedule) asked(id dynmesh.InstanceID, o outcome, now time.Time) {
	s.last = now
	t := s.tries[id]
	if t == nil {
		return // unreachable: next has made it
	}
	if s.row++; !t.isUrgent() {
		s.row = 0
	}
	t.at, t.void = now, o == void
	switch {
	case o == void:
	case t.failed != (o == failed):
		t.failed, t.row = o == failed, 1
	default:
		t.row = min(t.row+1, again)
	}
}

// forget drops workers that prefill no longer.
func (s *schedule) forget(all []Prefill) {
	if s.tries == nil {
		s.tries = map[dynmesh.InstanceID]*try{}
	}
	maps.DeleteFunc(s.tries, func(id dynmesh.InstanceID, _ *try) bool {
		return !slices.ContainsFunc(all, func(p Prefill) bool { return p.ID == id })
	})
}
