package probe

import (
	"slices"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
)

// Watchers is how many members watch a worker, where there are so many.
const Watchers = 2

// Assignment says who watches whom, by rendezvous hashing: of all watchers, a target's are those
// that score highest with it. Members that know of the same watchers agree without a word, and a
// watcher that comes or goes moves only its own share.
//
// It keeps the watchers of each target: one that joins is compared once with each, and one that
// leaves has its own targets assigned anew. It is not safe for concurrent use.
type Assignment struct {
	self     dynmesh.InstanceID
	watchers map[dynmesh.InstanceID]struct{}
	targets  map[dynmesh.InstanceID]assignees
}

// NewAssignment returns the assignment of a member that is itself a watcher, the only one so far.
func NewAssignment(self dynmesh.InstanceID) *Assignment {
	return &Assignment{
		self:     self,
		watchers: map[dynmesh.InstanceID]struct{}{self: {}},
		targets:  map[dynmesh.InstanceID]assignees{},
	}
}

// Join adds a watcher, and returns the targets that this member watched until now and need not
// watch any longer.
func (a *Assignment) Join(watcher dynmesh.InstanceID) (lost []dynmesh.InstanceID) {
	if _, known := a.watchers[watcher]; known {
		return nil
	}
	a.watchers[watcher] = struct{}{}
	for target, before := range a.targets {
		after := before.with(target, watcher)
		a.targets[target] = after
		if before.include(a.self) && !after.include(a.self) {
			lost = append(lost, target)
		}
	}
	slices.Sort(lost)
	return lost
}

// Leave removes a watcher, which must be another one, and returns the targets that this member has
// to watch now in its stead.
func (a *Assignment) Leave(watcher dynmesh.InstanceID) (gained []dynmesh.InstanceID) {
	if _, known := a.watchers[watcher]; !known || watcher == a.self {
		return nil
	}
	delete(a.watchers, watcher)
	for target, before := range a.targets {
		if !before.include(watcher) {
			continue
		}
		after := a.assign(target)
		a.targets[target] = after
		if !before.include(a.self) && after.include(a.self) {
			gained = append(gained, target)
		}
	}
	slices.Sort(gained)
	return gained
}

// Add adds a target, and reports whether this member is to watch it.
func (a *Assignment) Add(target dynmesh.InstanceID) (mine bool) {
	if _, known := a.targets[target]; !known {
		a.targets[target] = a.assign(target)
	}
	return a.Mine(target)
}

// Remove removes a target.
func (a *Assignment) Remove(target dynmesh.InstanceID) { delete(a.targets, target) }

// HasWatcher reports whether a member is a watcher.
func (a *Assignment) HasWatcher(id dynmesh.InstanceID) bool {
	_, is := a.watchers[id]
	return is
}

// Mine reports whether this member is to watch the target.
func (a *Assignment) Mine(target dynmesh.InstanceID) bool { return a.targets[target].include(a.self) }

// Of returns the watchers of a target, the one that suits best first. There are none for what is no
// target, and fewer than [Watchers] where too few are there: nobody watches itself.
func (a *Assignment) Of(target dynmesh.InstanceID) []dynmesh.InstanceID {
	var ids []dynmesh.InstanceID
	for _, p := range a.targets[target] {
		if p.watcher != 0 {
			ids = append(ids, p.watcher)
		}
	}
	return ids
}

func (a *Assignment) assign(target dynmesh.InstanceID) (p assignees) {
	for watcher := range a.watchers {
		p = p.with(target, watcher)
	}
	return p
}

// assignees are the watchers of one target, the one that suits best first.
type assignees [Watchers]assignee

type assignee struct {
	watcher dynmesh.InstanceID // 0: nobody
	score   uint64
}

// with returns the assignees after a watcher has been compared with those who hold them.
func (p assignees) with(target, watcher dynmesh.InstanceID) assignees {
	if watcher == target {
		return p
	}
	next := assignee{watcher, score(target, watcher)}
	for i, holder := range p {
		if holder.watcher == 0 || next.score > holder.score {
			p[i], next = next, holder
		}
	}
	return p
}

func (p assignees) include(watcher dynmesh.InstanceID) bool {
	return slices.ContainsFunc(p[:], func(holder assignee) bool { return holder.watcher == watcher })
}

// score is how well a watcher suits a target. No two watchers score the same with one target, since
// mix is a bijection. All members must compute the same, so it is part of the protocol: while two
// formulas are in use, a target may have up to four watchers or only one.
func score(target, watcher dynmesh.InstanceID) uint64 {
	return watch.Mix(uint64(target) ^ watch.Mix(uint64(watcher)))
}
