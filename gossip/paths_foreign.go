package gossip

import (
	"math/rand/v2"
	"slices"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/path"
)

// foreigns are the instances whose workers are no members. Frontends watch them, because only those read the registry: all
// instances of a worker by the same frontends, and all that have one address by one watch.
type foreigns struct {
	paths   *paths
	workers *path.Assignment
	places  map[dynmesh.InstanceID][]place
	watches map[string]*watch // by address
}

// place is where an instance is to be watched.
type place struct {
	subject dynmesh.Subject
	addr    string
}

func newForeigns(p *paths) *foreigns {
	return &foreigns{
		paths: p, workers: path.NewAssignment(p.loop.pool.self.ID),
		places: make(map[dynmesh.InstanceID][]place), watches: make(map[string]*watch),
	}
}

// frontend is told who else watches.
func (f *foreigns) frontend(id dynmesh.InstanceID, alive bool) {
	if alive {
		for _, target := range f.workers.Join(id) {
			f.paths.leaveLater(leaving{target: target, foreign: true})
		}
		return
	}
	for _, target := range f.workers.Leave(id) {
		for _, at := range f.places[target] {
			f.attach(at.subject, at.addr)
		}
	}
}

// set has an instance watched at an address, or no longer where it is empty.
func (f *foreigns) set(s dynmesh.Subject, addr string) {
	instances := f.places[s.ID]
	n := slices.IndexFunc(instances, func(at place) bool { return at.subject == s })
	known := n >= 0
	if known && instances[n].addr != addr {
		f.detach(s, instances[n].addr)
	}
	switch {
	case addr != "" && known:
		instances[n].addr = addr
	case addr != "":
		f.places[s.ID] = append(instances, place{s, addr})
	case known && len(instances) == 1:
		delete(f.places, s.ID)
		f.workers.Remove(s.ID)
	case known:
		f.places[s.ID] = slices.Delete(instances, n, n+1)
	}
	if addr != "" && f.workers.Add(s.ID) {
		f.attach(s, addr)
	}
}

// attach has the watch of the address speak of the instance.
func (f *foreigns) attach(s dynmesh.Subject, addr string) {
	p, w := f.paths, f.watches[addr]
	if w == nil {
		w = &watch{
			id: s.ID, service: addr, subjects: []dynmesh.Subject{s}, index: -1,
			foreign: path.NewForeign(rand.Uint64(), p.now()),
		}
		f.watches[addr] = w
		p.step(w, path.Event{})
		return
	}
	if !slices.Contains(w.subjects, s) {
		w.subjects = append(w.subjects, s)
		p.say(s, w)
	}
}

// detach takes back what is said of the instance. A watch of which nothing is said ends.
func (f *foreigns) detach(s dynmesh.Subject, addr string) {
	w := f.watches[addr]
	if w == nil {
		return
	}
	n := slices.Index(w.subjects, s)
	if n < 0 {
		return
	}
	w.subjects = slices.Delete(w.subjects, n, n+1)
	f.paths.withdraw(s)
	if len(w.subjects) == 0 {
		f.paths.close(w)
		delete(f.watches, addr)
	}
}

// endLost is to foreign instances what paths.endLost is to members.
func (f *foreigns) endLost(id dynmesh.InstanceID) bool {
	if f.workers.Mine(id) {
		return true
	}
	ended := true
	for _, at := range f.places[id] {
		if w := f.watches[at.addr]; w != nil && w.fails() {
			ended = false
			continue
		}
		f.detach(at.subject, at.addr)
	}
	return ended
}

func (f *foreigns) stop() {
	for _, w := range f.watches {
		f.paths.close(w)
	}
}
