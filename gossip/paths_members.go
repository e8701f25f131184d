package gossip

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/path"
)

// watch begins to watch a member, or again because it has moved or begun another life. What was said of it stands until there
// is something else to say.
func (p *paths) watch(m *member) *watch {
	w := p.watches[m.ID]
	if w != nil && w.member.Observer == m.Observer && w.member.Addr == m.Addr {
		moved := w.service != m.Service
		w.member, w.service = m, m.Service
		if moved {
			p.step(w, path.Event{Kind: path.Readdressed, Service: m.Service != ""})
		}
		return w
	}
	if w != nil {
		p.close(w)
	}
	state := path.NewMember(rand.Uint64(), m.Service != "", p.now())
	w = &watch{
		id: m.ID, member: m, state: &state, service: m.Service, subjects: []dynmesh.Subject{{ID: m.ID}}, index: -1,
	}
	p.watches[m.ID] = w
	p.step(w, path.Event{})
	return w
}

// gain begins to watch what has become ours, since somebody else is there no longer.
func (p *paths) gain(targets []dynmesh.InstanceID) {
	for _, id := range targets {
		if m := p.members[id]; m != nil && m.Role == dynmesh.RoleWorker && m.State != dynmesh.Left {
			p.step(p.watch(m), path.Event{Kind: path.Inherited})
		}
	}
}

// lose has what has become somebody else's end after a while.
func (p *paths) lose(targets []dynmesh.InstanceID) {
	for _, id := range targets {
		p.endSilent(id)
		p.leaveLater(leaving{target: id})
	}
}

// leaveLater has a watch end when linger is over.
func (p *paths) leaveLater(l leaving) {
	l.at = p.now() + linger
	p.leaving = append(p.leaving, l)
}

// endLeaving ends watches for which linger is over, but for those that say that the worker cannot be reached: nobody takes that back
// because it is another's turn to watch. That one may be out of reach itself, and what it found before would be held against one
// voice less.
func (p *paths) endLeaving(now time.Duration) {
	for len(p.leaving) > 0 && p.leaving[0].at <= now {
		l := p.leaving[0]
		p.leaving = p.leaving[1:]
		end := p.endLost
		if l.foreign {
			end = p.foreigns.endLost
		}
		again := func(o leaving) bool { return o.target == l.target && o.foreign == l.foreign }
		if !end(l.target) && !slices.ContainsFunc(p.leaving, again) {
			p.leaveLater(l)
		}
	}
}

// endSilent ends a watch that has said nothing yet: nobody would miss it. Whoever joins hears of the others one after the other,
// and each of the first is its own to watch until it hears of more: of n members, 2·ln n are for a moment.
func (p *paths) endSilent(id dynmesh.InstanceID) {
	if w := p.watches[id]; w != nil && w.state.Finding() == (path.Finding{}) {
		p.endLost(id)
	}
}

// endLost ends the watch of what is still somebody else's. It returns false for one that has failed, and goes on.
func (p *paths) endLost(id dynmesh.InstanceID) bool {
	w := p.watches[id]
	switch {
	case w == nil, p.workers.Mine(id):
		return true
	case w.fails():
		return false
	}
	p.end(w)
	delete(p.watches, id)
	return true
}

// drop forgets a worker that is no target any longer.
func (p *paths) drop(id dynmesh.InstanceID) {
	p.workers.Remove(id)
	if w := p.watches[id]; w != nil {
		p.end(w)
		delete(p.watches, id)
	}
}
