package gossip

import (
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/table"
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

// The times of a member that others do not reach. Watchers that hear nothing give it up after 2.6 s
// at the earliest: by then it has spoken.
const (
	listenInterval = 250 * time.Millisecond
	unheardAfter   = 1200 * time.Millisecond // six heartbeats
	speakInterval  = time.Second
	stoppedFor     = 2 * time.Second  // late to look by so much, a process was kept from running
	catchUp        = 10 * time.Second // until it knows what has happened meanwhile
	speakWidth     = 2                // others, beside the watchers that are silent, and so many frontends
)

// hearing is whether others reach this member. Those who watch it ask it five times a second: where
// one that is alive has not asked for a while, the port of gossip may be cut off, in which case the
// member still reaches others by connections of its own. So it speaks: it signs anew that it is
// there, once a second, and sends that, and whatever else it has to say, to some of them.
//
// Where nothing reaches it at all, it is deaf: it is cut off, or all of the others stand still.
// Where it does reach others, its own port is shut, and that they do not answer says nothing.
type hearing struct {
	next     time.Time                        // when it is looked again
	changed  bool                             // present may be others
	present  []dynmesh.InstanceID             // as loop.present has found them
	watchers map[dynmesh.InstanceID]time.Time // who is to ask, and when each has, or has begun to be one
	last     time.Time                        // when one of them has

	speaking bool
	deaf     time.Time     // since when nothing has reached this member; zero: something does
	shut     bool          // deaf, and it reaches others
	spoke    time.Time     // last
	ours     bool          // that the process is there has been said for want of anybody who has
	stopped  time.Duration // for how long this process did not run of late; 0: it has run
	woke     time.Time     // when it did again
	owed     []table.Entry // said while speaking, and since the last time that it spoke
}

// pingedBy takes note of a ping.
func (h *hearing) pingedBy(by dynmesh.InstanceID, now time.Time) {
	if _, watches := h.watchers[by]; watches {
		h.watchers[by], h.last = now, now
	}
}

// own takes note that somebody else says something of this process.
func (h *hearing) own(s dynmesh.Subject, self dynmesh.Observer) {
	if s == (dynmesh.Subject{ID: self.ID}) {
		h.ours = false
	}
}

// ran takes note of whether this process has run since it was to look, and reports whether that is
// news. What it knows of others is from before where it has not.
func (h *hearing) ran(now time.Time) (news bool) {
	switch late := now.Sub(h.next); {
	case late >= stoppedFor:
		h.stopped, h.woke = late, now
	case h.stopped > 0 && now.Sub(h.woke) >= catchUp:
		h.stopped = 0
	default:
		return false
	}
	return true
}

// overdue returns those who should have asked. present are those who are to watch this member and
// are alive. Whoever comes late to look has not looked meanwhile, and begins anew.
func (h *hearing) overdue(present []dynmesh.InstanceID, now time.Time) (silent []dynmesh.InstanceID) {
	late := now.Sub(h.next) > listenInterval
	before := h.watchers
	h.watchers = make(map[dynmesh.InstanceID]time.Time, len(present))
	for _, id := range present {
		at, known := before[id]
		if late || !known {
			at = now
		}
		h.watchers[id] = at
		if now.Sub(at) >= unheardAfter {
			silent = append(silent, id)
		}
	}
	return silent
}
