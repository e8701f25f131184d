package probe

import (
	"slices"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
)

// foreign is the instances whose workers are no members. Frontends watch them, because only those read the
// registry: all instances of a worker by the same frontends, and all that have one address by one watch.
type foreign struct {
	assignment *Assignment
	instances  map[dynmesh.InstanceID][]foreignInstance
	targets    map[string]*target // by address
}

type foreignInstance struct {
	subject dynmesh.Subject
	addr    string
}

func newForeign(self dynmesh.InstanceID) *foreign {
	return &foreign{
		assignment: NewAssignment(self),
		instances:  make(map[dynmesh.InstanceID][]foreignInstance), targets: make(map[string]*target),
	}
}

// frontendChanged is told who else watches foreign instances.
func (p *Prober) frontendChanged(id dynmesh.InstanceID, alive bool) {
	f := p.foreign
	if alive {
		for _, worker := range f.assignment.Join(id) {
			p.endLater(handover{target: worker, foreign: true})
		}
		return
	}
	for _, worker := range f.assignment.Leave(id) {
		for _, at := range f.instances[worker] {
			p.attach(at.subject, at.addr)
		}
	}
}

// watchForeign has an instance watched at an address, or no longer where that is empty.
func (p *Prober) watchForeign(s dynmesh.Subject, addr string) {
	f := p.foreign
	instances := f.instances[s.ID]
	n := slices.IndexFunc(instances, func(at foreignInstance) bool { return at.subject == s })
	known := n >= 0
	if known && instances[n].addr != addr {
		p.detach(s, instances[n].addr)
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
}

// attach has the watch of the address report of the instance.
func (p *Prober) attach(s dynmesh.Subject, addr string) {
	t := p.foreign.targets[addr]
	if t == nil {
		t = &target{
			id: s.ID, service: addr, subjects: []dynmesh.Subject{s}, index: -1,
			address: watch.NewForeign(p.random.Uint64(), p.now),
		}
		p.foreign.targets[addr] = t
		p.step(t, watch.Event{})
		return
	}
	if !slices.Contains(t.subjects, s) {
		t.subjects = append(t.subjects, s)
		p.report(s, t)
	}
}

// detach takes back what is said of the instance. A watch of which nothing is reported ends.
func (p *Prober) detach(s dynmesh.Subject, addr string) {
	t := p.foreign.targets[addr]
	if t == nil {
		return
	}
	n := slices.Index(t.subjects, s)
	if n < 0 {
		return
	}
	t.subjects = slices.Delete(t.subjects, n, n+1)
	p.withdraw(s)
	if len(t.subjects) == 0 {
		p.close(t)
		delete(p.foreign.targets, addr)
	}
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
