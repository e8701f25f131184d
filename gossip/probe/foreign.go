package probe

import (
	"cmp"
	"slices"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
)

// MaxForeign is of how many foreign instances one frontend reports. Members take 65,536
// observations of one observer, and a frontend reports of members, too. Of more instances, those go
// without a report that another frontend is to watch as well, and better; then those that came
// last.
const MaxForeign = 60_000

// foreign is the instances whose workers are no members. Frontends watch them, because only those
// read the registry: all instances of a worker by the same frontends, and all that have one address
// by one watch.
type foreign struct {
	assignment *Assignment
	instances  map[dynmesh.InstanceID][]foreignInstance
	targets    map[string]*target // by address

	limit    int               // MaxForeign, but in tests
	reported int               // instances of which targets report
	overflow overflow          // ours to watch, and beyond MaxForeign
	shared   []foreignInstance // some that give way: we are their second watcher, or were
	searched bool              // and there are no others
}

type foreignInstance struct {
	subject dynmesh.Subject
	addr    string
}

func newForeign(self dynmesh.InstanceID) *foreign {
	return &foreign{
		assignment: NewAssignment(self),
		instances:  make(map[dynmesh.InstanceID][]foreignInstance), targets: make(map[string]*target),
		limit: MaxForeign, overflow: overflow{set: make(map[dynmesh.Subject]struct{})},
	}
}

// frontendChanged is told who else watches foreign instances.
func (p *Prober) frontendChanged(id dynmesh.InstanceID, alive bool) {
	f := p.foreign
	if f.assignment.HasWatcher(id) == alive {
		return // nobody has come or gone
	}
	f.searched = false
	if alive {
		for _, worker := range f.assignment.Join(id) {
			p.endLater(handoverOf{target: worker, foreign: true})
		}
	} else {
		for _, worker := range f.assignment.Leave(id) {
			for _, at := range f.instances[worker] {
				p.attach(at.subject, at.addr)
			}
		}
	}
	for range len(f.overflow.set) { // each of which may be ours alone now, or no longer
		p.admit(f.overflow.next())
	}
}

// admit has an instance reported of that had to wait, if it is still ours, and reports whether it
// was.
func (p *Prober) admit(s dynmesh.Subject) bool {
	f := p.foreign
	for _, at := range f.instances[s.ID] {
		if at.subject == s && f.assignment.Mine(s.ID) {
			p.attach(s, at.addr)
			return true
		}
	}
	return false
}

// watchForeign has an instance watched at an address, or no longer where that is empty.
func (p *Prober) watchForeign(s dynmesh.Subject, addr string) {
	f := p.foreign
	instances := f.instances[s.ID]
	n := slices.IndexFunc(instances, func(at foreignInstance) bool { return at.subject == s })
	known, freed := n >= 0, false
	if known && instances[n].addr != addr {
		f.overflow.remove(s)
		freed = p.endReport(s, instances[n].addr)
	}
	switch {
	case addr != "" && known:
		instances[n].addr = addr
	case addr != "":
		f.instances[s.ID] = append(instances, foreignInstance{s, addr})
	case known && len(instances) == 1:
		delete(f.instances, s.ID)
		f.assignment.Remove(s.ID)
	case known:
		f.instances[s.ID] = slices.Delete(instances, n, n+1)
	}
	if addr != "" && f.assignment.Add(s.ID) {
		p.attach(s, addr)
	}
	if freed { // after the instance itself, which may only have moved
		p.fill()
	}
}

// attach has the watch of the address report of the instance, if there is room.
func (p *Prober) attach(s dynmesh.Subject, addr string) {
	f := p.foreign
	if t := f.targets[addr]; t != nil && slices.Contains(t.subjects, s) {
		return
	}
	first := f.isFirst(s.ID)
	if f.reported >= f.limit && (!first || !p.makeRoom()) {
		f.overflow.add(s)
		return
	}
	f.overflow.remove(s)
	f.reported++
	f.searched = f.searched && first
	if t := f.targets[addr]; t != nil {
		t.subjects = append(t.subjects, s)
		p.report(s, t)
		return
	}
	t := newTarget(target{
		id: s.ID, service: addr, subjects: []dynmesh.Subject{s},
		address: watch.NewForeign(p.random.Uint64(), p.now),
	})
	f.targets[addr] = t
	p.step(t, watch.Event{})
}

// isFirst reports whether no other frontend suits a worker better.
func (f *foreign) isFirst(id dynmesh.InstanceID) bool {
	watchers := f.assignment.Of(id)
	return len(watchers) > 0 && watchers[0] == f.assignment.self
}

// makeRoom ends the report of an instance that another frontend is to watch as well, if there is
// one.
func (p *Prober) makeRoom() bool {
	f := p.foreign
	if len(f.shared) == 0 && !f.searched {
		f.searched = true
		for id, instances := range f.instances {
			if !f.isFirst(id) {
				f.shared = append(f.shared, instances...)
			}
		}
		slices.SortStableFunc(f.shared, func(a, b foreignInstance) int { return cmp.Compare(a.subject.ID, b.subject.ID) })
	}
	for len(f.shared) > 0 {
		last := len(f.shared) - 1
		at := f.shared[last]
		f.shared = f.shared[:last]
		if !f.isFirst(at.subject.ID) && p.endReport(at.subject, at.addr) {
			if f.assignment.Mine(at.subject.ID) {
				f.overflow.add(at.subject)
			}
			return true
		}
	}
	f.shared = nil
	return false
}

// detach takes back what is said of the instance, and has another one take its place that had none.
func (p *Prober) detach(s dynmesh.Subject, addr string) {
	f := p.foreign
	f.overflow.remove(s)
	if p.endReport(s, addr) {
		p.fill()
	}
}

// fill has one of those that wait take the place that is free, if it still is.
func (p *Prober) fill() {
	f := p.foreign
	for f.reported < f.limit && len(f.overflow.set) > 0 && !p.admit(f.overflow.next()) {
		continue
	}
}

// endReport takes back what is said of the instance, if anything is. A watch of which nothing is
// reported ends.
func (p *Prober) endReport(s dynmesh.Subject, addr string) bool {
	f := p.foreign
	t := f.targets[addr]
	if t == nil {
		return false
	}
	n := slices.Index(t.subjects, s)
	if n < 0 {
		return false
	}
	t.subjects = slices.Delete(t.subjects, n, n+1)
	f.reported--
	p.withdraw(s)
	if len(t.subjects) == 0 {
		p.close(t)
		delete(f.targets, addr)
	}
	return true
}

// endForeignIfHandedOver is to foreign instances what endIfHandedOver is to members.
func (p *Prober) endForeignIfHandedOver(id dynmesh.InstanceID) bool {
	f := p.foreign
	if f.assignment.Mine(id) {
		return true
	}
	ended := true
	for _, at := range f.instances[id] {
		if t := f.targets[at.addr]; t != nil && t.fails() {
			ended = false
			continue
		}
		p.detach(at.subject, at.addr)
	}
	return ended
}

// overflow is the instances for which there is no room, in the order in which they came.
type overflow struct {
	set   map[dynmesh.Subject]struct{}
	queue []dynmesh.Subject // of the set, and of some that are in it no longer
}

func (c *overflow) add(s dynmesh.Subject) {
	if c.has(s) {
		return
	}
	if len(c.queue) > 2*len(c.set)+64 {
		c.queue = slices.DeleteFunc(c.queue, func(s dynmesh.Subject) bool { return !c.has(s) })
	}
	c.set[s] = struct{}{}
	c.queue = append(c.queue, s)
}

func (c *overflow) has(s dynmesh.Subject) bool {
	_, there := c.set[s]
	return there
}

func (c *overflow) remove(s dynmesh.Subject) { delete(c.set, s) }

// next takes out the first one, of which there must be one.
func (c *overflow) next() dynmesh.Subject {
	for {
		s := c.queue[0]
		c.queue = c.queue[1:]
		if c.has(s) {
			c.remove(s)
			return s
		}
	}
}
