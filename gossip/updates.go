package gossip

import (
	"sync"

	"github.com/dynmesh/dynmesh"
)

// updates holds what the reader has not taken. Only the latest of everything waits, and what the
// reader has never heard of is not taken back. So it is bounded by the state's size, however slow
// the reader is.
type updates struct {
	changed chan struct{}

	mu        sync.Mutex
	health    dynmesh.GossipHealth
	members   map[dynmesh.InstanceID]dynmesh.Member
	forgotten map[dynmesh.Observer]struct{}
	set       map[dynmesh.ObservationKey]dynmesh.Observation
	withdrawn map[dynmesh.ObservationKey]struct{}

	// What the reader knows.
	knownMembers map[dynmesh.Observer]struct{}
	known        map[dynmesh.ObservationKey]struct{}
}

func newUpdates() *updates {
	u := &updates{changed: make(chan struct{}, 1), knownMembers: map[dynmesh.Observer]struct{}{}, known: map[dynmesh.ObservationKey]struct{}{}}
	u.clear()
	return u
}

func (u *updates) clear() {
	u.members = make(map[dynmesh.InstanceID]dynmesh.Member)
	u.forgotten = make(map[dynmesh.Observer]struct{})
	u.set = make(map[dynmesh.ObservationKey]dynmesh.Observation)
	u.withdrawn = make(map[dynmesh.ObservationKey]struct{})
}

func (u *updates) change(f func()) {
	u.mu.Lock()
	f()
	u.mu.Unlock()
	select {
	case u.changed <- struct{}{}:
	default:
	}
}

func (u *updates) member(m dynmesh.Member) {
	u.change(func() {
		delete(u.forgotten, m.Observer)
		u.members[m.ID] = m
	})
}

func (u *updates) forget(o dynmesh.Observer) {
	u.change(func() {
		_, known := u.knownMembers[o]
		if known {
			u.forgotten[o] = struct{}{}
		}
		// A reader that has it as alive still has to hear that it was not.
		m, ok := u.members[o.ID]
		gone := m.State == dynmesh.Dead || m.State == dynmesh.Left
		if ok && m.Observer == o && (!known || !gone) {
			delete(u.members, o.ID)
		}
	})
}

func (u *updates) observations(set []dynmesh.Observation, withdrawn []dynmesh.ObservationKey) {
	if len(set)+len(withdrawn) == 0 {
		return
	}
	u.change(func() {
		for _, k := range withdrawn { // first: what is set as well stands
			delete(u.set, k)
			if _, ok := u.known[k]; ok {
				u.withdrawn[k] = struct{}{}
			}
		}
		for _, o := range set {
			delete(u.withdrawn, o.Key())
			u.set[o.Key()] = o
		}
	})
}

func (u *updates) setHealth(h dynmesh.GossipHealth) {
	u.mu.Lock()
	same := u.health == h
	u.mu.Unlock()
	if !same {
		u.change(func() { u.health = h })
	}
}

func (u *updates) take() dynmesh.GossipUpdate {
	u.mu.Lock()
	defer u.mu.Unlock()
	t := dynmesh.GossipUpdate{Health: u.health}
	for _, m := range u.members {
		t.Members = append(t.Members, m)
		u.knownMembers[m.Observer] = struct{}{}
	}
	for o := range u.forgotten {
		t.Forgotten = append(t.Forgotten, o)
		delete(u.knownMembers, o)
	}
	for k := range u.withdrawn {
		t.Withdrawn = append(t.Withdrawn, k)
		delete(u.known, k)
	}
	for k, o := range u.set {
		t.Observations = append(t.Observations, o)
		u.known[k] = struct{}{}
	}
	u.clear()
	return t
}
