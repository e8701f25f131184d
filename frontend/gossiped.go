package frontend

import (
	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/verdict"
)

// gossip takes in what the pool says.
func (m *mesh) gossip() {
	u := m.pool.Take()
	if u.Health != m.health {
		if u.Health.Score != m.health.Score && max(u.Health.Score, m.health.Score) >= verdict.Unwell { // below it changes nothing, from it on reasons name it
			m.touchAll(func(i *instance) bool { return i.worker.gone() || i.worker.mourned != nil })
		}
		m.health, m.outdated = u.Health, true
	}
	for _, member := range u.Members {
		m.member(member)
	}
	for _, gone := range u.Forgotten {
		if w := m.workers[gone.ID]; w != nil && w.member != nil && w.member.Epoch <= gone.Epoch {
			if w.gone() {
				w.mourned = w.member
			}
			w.member = nil
			m.members.changes = append(m.members.changes, change{record: &record{endpoint: m.members.endpoint, id: w.id}, gone: true})
			m.renamed(w)
		}
	}
	for _, key := range u.Withdrawn {
		m.withdraw(key)
	}
	for _, o := range u.Observations {
		m.observe(o)
	}
}

// member takes in what the pool says of a member.
func (m *mesh) member(member dynmesh.Member) {
	w := m.worker(member.ID)
	if w.member != nil && member.Epoch < w.member.Epoch {
		return
	}
	if w.member != nil && member.Epoch > w.member.Epoch {
		w.reborn()
	}
	w.lost = w.lost && member.State != dynmesh.Alive // it has just come, or come back
	w.member, w.mourned = &member, nil
	m.members.changes = append(m.members.changes, change{record: newRecord(m.members.endpoint, w.id, memberJSON(member))})
	m.renamed(w)
}

// observe files an observation under its subject.
func (m *mesh) observe(o dynmesh.Observation) {
	w := m.worker(o.Subject.ID)
	own := o.Observer.ID == w.id
	switch whole := o.Subject.Endpoint == (dynmesh.Endpoint{}); {
	case !own && o.Kind == dynmesh.KindPath && whole:
		w.paths = w.paths.with(o)
		m.watches(o)
		m.heard(w)
	case !own && o.Kind == dynmesh.KindPath:
		i := m.instance(o.Subject)
		i.paths = i.paths.with(o)
		m.watches(o)
		m.touch(i)
	case own && whole && o.Kind == dynmesh.KindProcess:
		if w.process == nil || !later(*w.process, o) {
			w.process = &o
			m.touchWorker(w)
		}
	case own && !whole && o.Kind != dynmesh.KindPath && o.Kind != dynmesh.KindProcess:
		i := m.instance(o.Subject)
		if i.own == nil || !later(*i.own, o) {
			i.own, i.withdrawn = &o, false
			m.touch(i)
		}
	}
	m.tidy(w)
}

// watches remembers that the observer has found something of the subject: it counts for as long as the observer is there.
func (m *mesh) watches(o dynmesh.Observation) {
	by := m.worker(o.Observer.ID)
	if by.watches == nil {
		by.watches = map[dynmesh.InstanceID]struct{}{}
	}
	by.watches[o.Subject.ID] = struct{}{}
}

// withdraw forgets an observation.
func (m *mesh) withdraw(key dynmesh.ObservationKey) {
	w := m.workers[key.Observer.ID]
	subject := m.workers[key.Subject.ID]
	if w == nil || subject == nil {
		return
	}
	if key.Subject.Endpoint == (dynmesh.Endpoint{}) {
		subject.paths = subject.paths.without(key.Observer)
		if subject.process != nil && subject.process.Observer == key.Observer {
			subject.process = nil
		}
		m.heard(subject)
	} else if i := m.find(key.Subject); i != nil {
		i.paths = i.paths.without(key.Observer)
		if i.own != nil && i.own.Observer == key.Observer {
			i.own, i.withdrawn = nil, subject.there() && subject.member.Observer == key.Observer // not forgotten with what it was
		}
		m.touch(i)
	}
	if !subject.watchedBy(w.id) {
		delete(w.watches, subject.id)
		m.tidy(w)
	}
	m.tidy(subject)
}
