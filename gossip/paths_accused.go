package gossip

import (
	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// accused are the workers of whom somebody says that they cannot be reached, and who says so. They are to watch nobody, until it is
// taken back: when a rack loses its power, whom it watched itself is somebody else's at once, and not when memberlist has given up
// the watchers as well. One voice is enough for that. Where it was wrong, a worker had one watcher more for a while.
type accused map[dynmesh.InstanceID]map[dynmesh.InstanceID]struct{}

// found is told of each change of the table: what a member has found, or has taken back.
func (p *paths) found(k dynmesh.ObservationKey, f dynmesh.Finding) {
	if k.Subject.Endpoint != (dynmesh.Endpoint{}) || k.Observer.ID == k.Subject.ID || p.stopped() {
		return
	}
	accusers := p.accused[k.Subject.ID]
	if _, before := accusers[k.Observer.ID]; before == (f == dynmesh.Fail) {
		return
	}
	switch {
	case f != dynmesh.Fail && len(accusers) == 1:
		delete(p.accused, k.Subject.ID)
	case f != dynmesh.Fail:
		delete(accusers, k.Observer.ID)
	case accusers == nil:
		p.accused[k.Subject.ID] = map[dynmesh.InstanceID]struct{}{k.Observer.ID: {}}
	default:
		accusers[k.Observer.ID] = struct{}{}
	}
	p.appoint(k.Subject.ID)
	p.pump()
}

// appoint has a member be a watcher, or no longer.
func (p *paths) appoint(id dynmesh.InstanceID) {
	m := p.members[id]
	if m == nil {
		return
	}
	if m.alive() && !p.isAccused(id) {
		p.lose(p.workers.Join(id))
	} else {
		p.gain(p.workers.Leave(id))
	}
}

// isAccused reports whether somebody who is there says so.
func (p *paths) isAccused(id dynmesh.InstanceID) bool {
	for by := range p.accused[id] {
		if m := p.members[by]; by == p.loop.pool.self.ID || m != nil && m.alive() {
			return true
		}
	}
	return false
}

// heardOf is told that a member has come, or is gone: what it says of others counts from now on, or no longer.
func (p *paths) heardOf(by dynmesh.InstanceID) {
	for id, accusers := range p.accused {
		if _, accuses := accusers[by]; accuses {
			p.appoint(id)
		}
	}
}

// follow hands a change of the table on.
func (p *paths) follow(c table.Changes) {
	for _, k := range c.Withdrawn {
		p.found(k, "")
	}
	for _, o := range c.Set {
		if o.Kind == dynmesh.KindPath {
			p.found(dynmesh.ObservationKey{Observer: o.Observer, Subject: o.Subject}, o.Report.Finding)
		}
	}
}
