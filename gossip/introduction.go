package gossip

import (
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
)

// The times of an introduction.
const (
	introduceWithin = time.Second

	// introduceAfter is how long who is alive must not have changed: the members of one push/pull come
	// one after the other, and what they say of each other a moment later.
	introduceAfter = 20 * time.Millisecond
	watchedAfter   = 50 * time.Millisecond
)

// introduction makes a member that has just joined known to those who are to watch it. Gossip would tell
// them within a second or so, and where many have died of late, some only with a comparison; until then,
// nobody holds a tripwire that would tell of its end.
type introduction struct {
	began   time.Time
	told    map[dynmesh.InstanceID]struct{} // watchers
	alone   bool                            // whoever might know members has been asked
	over    bool
	watched chan struct{} // closed: see Pool.Watched
}

func newIntroduction() introduction {
	return introduction{told: make(map[dynmesh.InstanceID]struct{}), watched: make(chan struct{})}
}

// introduce tells watchers, and returns when to look again; zero: not before something happens. Who is to
// watch may change while this member learns whom others cannot reach, so it goes on for a while.
func (l *loop) introduce(now time.Time) (next time.Time) {
	i := &l.introduction
	if i.over {
		return time.Time{}
	}
	end, tell, watched := i.began.Add(introduceWithin), l.settled.Add(introduceAfter), l.settled.Add(watchedAfter)
	i.over = !now.Before(end)
	if !now.Before(tell) {
		for _, id := range l.prober.Watchers(l.pool.self.ID) {
			m := l.members[id]
			if _, told := i.told[id]; !told && m != nil {
				i.told[id] = struct{}{}
				l.pool.joiner.attempt(m.Addr)
			}
		}
	}
	if i.over || l.isWatched(now) {
		i.close()
	}
	switch {
	case i.over:
		return time.Time{}
	case now.Before(tell):
		return earliest(end, tell)
	case now.Before(watched):
		return earliest(end, watched)
	}
	return end
}

// isWatched reports whether as many hold a tripwire as shall, and nobody is being told.
func (l *loop) isWatched(now time.Time) bool {
	others := 0
	for _, m := range l.members {
		if m.alive() && m.Observer != l.pool.self {
			others++
		}
	}
	switch {
	case others == 0:
		return l.introduction.alone
	case now.Before(l.settled.Add(watchedAfter)), l.pool.joiner.busy():
		return false
	}
	return l.pool.transport.held() >= min(probe.Watchers, others)
}

func (i *introduction) close() {
	select {
	case <-i.watched:
	default:
		close(i.watched)
	}
}
