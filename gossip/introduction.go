package gossip

import (
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
)

// The times of an introduction.
const (
	introduceWithin = time.Second

	// introduceAfter is how long who is alive must not have changed: the members of one push/pull
	// come one after the other, and what they say of each other a moment later.
	introduceAfter = 20 * time.Millisecond
	watchedAfter   = 50 * time.Millisecond
)

// introduction makes a member that has just joined known to those who are to watch it. Gossip would
// tell them within a second or so, and where many have died of late, some only with a comparison;
// until then, nobody holds a tripwire that would tell of its end.
type introduction struct {
	began   time.Time                       // zero: it has not
	told    map[dynmesh.InstanceID]struct{} // watchers
	sought  bool                            // whoever might know members has been asked
	over    bool
	watched chan struct{} // closed: see Pool.Watched
}

// situation is what an introduction has to know of the moment.
type situation struct {
	others         int                  // members that are alive
	membersChanged time.Time            // last: who is alive
	watchers       []dynmesh.InstanceID // who is to watch this member
	tripwires      int                  // that others hold
	joining        bool                 // somebody is being told
}

func newIntroduction() introduction {
	return introduction{told: make(map[dynmesh.InstanceID]struct{}), watched: make(chan struct{})}
}

// begin notes when gossip began; zero: it has not yet, which is no reason to wait any longer.
func (i *introduction) begin(at time.Time) {
	i.began = at
	if at.IsZero() {
		i.close()
	}
}

// step returns whom to join, since they are to watch this member and may not know it, and when to
// go on; zero: not before something happens. Who is to watch may change while this member learns
// whom others cannot reach, so it goes on for a while.
func (i *introduction) step(s situation, now time.Time) (join []dynmesh.InstanceID, next time.Time) {
	end := i.began.Add(introduceWithin)
	settled, watched := s.membersChanged.Add(introduceAfter), s.membersChanged.Add(watchedAfter)
	i.over = !now.Before(end)
	if !now.Before(settled) {
		for _, id := range s.watchers {
			if _, told := i.told[id]; !told {
				i.told[id] = struct{}{}
				join = append(join, id)
			}
		}
	}
	if i.over || len(join) == 0 && i.isWatched(s, now) {
		i.close()
	}
	switch {
	case i.over:
		return join, time.Time{}
	case now.Before(settled):
		return join, earliest(end, settled)
	case now.Before(watched):
		return join, earliest(end, watched)
	}
	return join, end
}

// isWatched reports whether as many hold a tripwire as shall, and nobody is being told.
func (i *introduction) isWatched(s situation, now time.Time) bool {
	switch {
	case s.others == 0:
		return i.sought
	case now.Before(s.membersChanged.Add(watchedAfter)), s.joining:
		return false
	}
	return s.tripwires >= min(probe.Watchers, s.others)
}

func (i *introduction) close() {
	select {
	case <-i.watched:
	default:
		close(i.watched)
	}
}
