package frontend

import (
	"maps"
	"slices"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
)

// touch marks an instance: what is known of it may have changed.
func (m *mesh) touch(i *instance) {
	if !i.dirty {
		i.dirty = true
		m.dirty = append(m.dirty, i)
	}
}

func (m *mesh) touchWorker(w *worker) {
	for _, i := range w.instances {
		m.touch(i)
	}
	m.tidy(w)
}

// heard takes note that what others say of w as a whole may count for something else, and so what it says of others. Who was
// lost is lost until somebody reaches it.
func (m *mesh) heard(w *worker) {
	missed, reached := false, false
	for _, f := range w.paths {
		missed = missed || !f.former && f.Report.Finding == dynmesh.Fail && m.stateOf(f.Observer) == dynmesh.Alive
		reached = reached || f.Report.Finding == dynmesh.Pass && m.path(f).Counts()
	}
	m.touchWorker(w)
	if lost := missed || w.lost && !reached; lost != w.lost {
		w.lost = lost
		for id := range w.watches { // which ends: nobody becomes lost because another does, or is found again
			m.heard(m.workers[id])
		}
	}
	m.countPeer(w)
}

// countPeer keeps peers. Who is left alone, or no longer, looks again at all that somebody has lost.
func (m *mesh) countPeer(w *worker) {
	peer := w.there() && !w.lost && w.id != m.self.ID
	if peer == w.peer {
		return
	}
	w.peer = peer
	before := m.peers
	if peer {
		m.peers++
	} else {
		m.peers--
	}
	if (before == 0) != (m.peers == 0) {
		m.touchAll(func(i *instance) bool { return i.worker.lost })
	}
}

func (m *mesh) touchAll(which func(*instance) bool) {
	for _, g := range m.order {
		for _, i := range g.instances {
			if which(i) {
				m.touch(i)
			}
		}
	}
}

// worker returns the worker of that ID, a new one where there is none.
func (m *mesh) worker(id dynmesh.InstanceID) *worker {
	w := m.workers[id]
	if w == nil {
		w = &worker{id: id}
		m.workers[id] = w
	}
	return w
}

// tidy forgets a worker of whom nothing is left.
func (m *mesh) tidy(w *worker) {
	if w.member == nil && w.info == nil && w.process == nil && len(w.instances)+len(w.paths)+len(w.watches) == 0 {
		delete(m.workers, w.id)
	}
}

func (m *mesh) find(s dynmesh.Subject) *instance {
	if g := m.groups[s.Endpoint]; g != nil {
		return g.instances[s.ID]
	}
	return nil
}

// instance returns the instance that is meant, a new one where there is none.
func (m *mesh) instance(s dynmesh.Subject) *instance {
	if i := m.find(s); i != nil {
		return i
	}
	g := m.group(s.Endpoint)
	w := m.worker(s.ID)
	i := &instance{worker: w, group: g, place: unplanned}
	g.instances[s.ID] = i
	w.instances = append(w.instances, i)
	return i
}

// group returns an endpoint's, a new one where there is none.
func (m *mesh) group(e dynmesh.Endpoint) *group {
	if g := m.groups[e]; g != nil {
		return g
	}
	g := &group{endpoint: newEndpoint(e), instances: map[dynmesh.InstanceID]*instance{}}
	g.awaited = slices.ContainsFunc(m.expectations, func(e expect.Expectation) bool { return e.Matches(g.name) })
	m.groups[g.Endpoint] = g
	at, _ := slices.BinarySearchFunc(m.order, g, (*group).compare)
	m.order = slices.Insert(m.order, at, g)
	return g
}

// drop forgets an instance of which nothing is known any more.
func (m *mesh) drop(i *instance) {
	if i.registered || i.own != nil || len(i.paths) > 0 {
		return
	}
	delete(i.group.instances, i.worker.id)
	i.worker.instances = slices.DeleteFunc(i.worker.instances, func(o *instance) bool { return o == i })
	m.tidy(i.worker)
}

// nameOf returns what people know a process by.
func (m *mesh) nameOf(o dynmesh.Observer) string {
	if o.ID == m.self.ID {
		return "this frontend"
	}
	w := m.workers[o.ID]
	name := "member"
	if w != nil && w.member != nil {
		name = string(w.member.Role)
	} else if w != nil && w.info != nil {
		name = string(w.info.Role)
	}
	name += " " + o.ID.String()
	if w != nil && w.info != nil && w.info.Host != "" {
		name += " on " + w.info.Host
	}
	return name
}

// stateOf returns whether an observer is there: not another life of it.
func (m *mesh) stateOf(o dynmesh.Observer) dynmesh.MemberState {
	if o == m.self {
		return dynmesh.Alive
	}
	if w := m.workers[o.ID]; w != nil && w.member != nil && w.member.Epoch == o.Epoch {
		return w.member.State
	}
	return ""
}

// forgetGroups drops the endpoints that have no instances left.
func (m *mesh) forgetGroups() {
	if len(m.order) == 0 || !slices.ContainsFunc(m.order, (*group).empty) {
		return
	}
	m.order = slices.DeleteFunc(m.order, (*group).empty)
	maps.DeleteFunc(m.groups, func(_ dynmesh.Endpoint, g *group) bool { return g.empty() })
}
