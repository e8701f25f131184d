package fleet

import (
	"cmp"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/verdict"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Gossip takes in what gossip says.
func (f *Fleet) Gossip(u dynmesh.GossipUpdate) {
	if before := f.health; u.Health != before {
		f.health, f.marks.status = u.Health, true
		now, then := u.Health.Score, before.Score
		if now != then && max(now, then) >= verdict.Unwell { // below it a score changes nothing
			f.markAll(func(i *Instance) bool { return i.process.isDead() || i.process.lastMember != nil })
		}
	}
	for n := range u.Members {
		f.join(&u.Members[n])
	}
	for _, observer := range u.Forgotten {
		f.forget(observer)
	}
	for _, key := range u.Withdrawn {
		f.withdraw(key)
	}
	for n := range u.Observations {
		// A name that does not show is in no registry, and would come into logs, labels and terminals.
		if e := u.Observations[n].Subject.Endpoint; text.Shows(e.Namespace + e.Component + e.Name) {
			f.observe(&u.Observations[n])
		}
	}
	for n := range u.Observations { // by now the worker's first word of the instance has been filed
		f.measure(&u.Observations[n])
	}
}

// measure hands on what a worker that is alive has measured of an instance that is known.
func (f *Fleet) measure(o *dynmesh.Observation) {
	if o.Kind != dynmesh.KindMeasure || o.Observer.ID != o.Subject.ID {
		return
	}
	i := f.endpoints.find(o.Subject.Endpoint, o.Subject.ID)
	if i != nil && i.process.isAlive() && i.process.member.Observer == o.Observer {
		f.marks.measures = append(f.marks.measures, *o)
	}
}

// join takes in what gossip says of a member.
func (f *Fleet) join(m *dynmesh.Member) {
	p := f.processes.get(m.ID)
	if p.member != nil && m.Epoch < p.member.Epoch {
		return
	}
	if last := cmp.Or(p.member, p.lastMember); last != nil && m.Epoch > last.Epoch {
		p.restart()
	}
	if p.observed != nil && m.State == dynmesh.Alive {
		p.observed.unreachable = false // it has just come, or come back
	}
	own := *m
	p.member, p.lastMember, p.joined = &own, nil, true
	p.prune()
	f.marks.member(p)
	f.processes.rename(p)
}

// forget takes note that gossip does not keep a member any longer.
func (f *Fleet) forget(o dynmesh.Observer) {
	p := f.processes.byID[o.ID]
	if p == nil || p.member == nil || p.member.Epoch > o.Epoch {
		return
	}
	if p.isDead() {
		p.lastMember = p.member
	}
	p.member = nil
	p.prune()
	f.marks.member(p)
	f.processes.rename(p)
}

// observe files an observation under its subject. What only a worker itself can know, nobody else's
// observation says.
func (f *Fleet) observe(o *dynmesh.Observation) {
	if o.Subject.Measure != 0 {
		return
	}
	p := f.processes.get(o.Subject.ID)
	own, whole := o.Observer.ID == p.id, o.Subject.Endpoint == (dynmesh.Endpoint{})
	r := newReport(o)
	switch {
	case !own && whole && o.Kind == dynmesh.KindPath:
		p.see().paths = p.see().paths.with(r)
		f.processes.get(o.Observer.ID).observe(p.id)
		f.processes.reevaluate(p)
	case !own && (o.Kind == dynmesh.KindPath || (o.Kind == dynmesh.KindSystem || o.Kind == dynmesh.KindPinned) && !whole):
		i := f.instance(o.Subject.Endpoint, o.Subject.ID)
		i.paths = i.paths.with(r)
		f.processes.get(o.Observer.ID).observe(p.id)
		f.marks.instance(i)
	case own && whole && o.Kind == dynmesh.KindProcess:
		if before := p.seen().own; before == nil || r.after(before) {
			p.see().own = &r
			f.marks.process(p)
		}
	case own && !whole && o.Kind.Own():
		if i := f.instance(o.Subject.Endpoint, o.Subject.ID); i.own == nil || r.after(i.own) {
			i.own, i.withdrawn = &r, false
			f.marks.instance(i)
		}
	}
	f.processes.collect(p)
}

// withdraw forgets an observation.
func (f *Fleet) withdraw(key dynmesh.ObservationKey) {
	by, p := f.processes.byID[key.Observer.ID], f.processes.byID[key.Subject.ID]
	if by == nil || p == nil || key.Subject.Measure != 0 {
		return
	}
	if key.Subject.Endpoint == (dynmesh.Endpoint{}) {
		if o := p.observed; o != nil {
			o.paths = o.paths.without(key.Observer)
			if o.own != nil && o.own.observer == key.Observer {
				o.own = nil
			}
		}
		f.processes.reevaluate(p)
	} else if i := f.endpoints.find(key.Subject.Endpoint, key.Subject.ID); i != nil {
		i.paths = i.paths.without(key.Observer)
		if i.own != nil && i.own.observer == key.Observer {
			i.own = nil
			i.withdrawn = p.isAlive() && p.member.Observer == key.Observer // else it goes with its incarnation
		}
		f.marks.instance(i)
	}
	if !p.observedBy(by.id) {
		delete(by.seen().subjects, p.id)
		f.processes.collect(by)
	}
	f.processes.collect(p)
}
