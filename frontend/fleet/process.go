package fleet

import (
	"iter"
	"slices"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/verdict"
)

// Process is one process of the fleet: a worker, or a frontend that observes workers.
type Process struct {
	id         dynmesh.InstanceID
	member     *dynmesh.Member     // as gossip knows it; nil: it does not
	lastMember *dynmesh.Member     // as gossip knew it last, where it was dead or had left when it was forgotten
	info       *dynmesh.MemberInfo // what it told the registry of itself; nil: nothing
	own        *report             // its word of itself as a whole; nil: none
	paths      paths               // what others found of it as a whole
	instances  []*Instance         // that it serves
	observes   map[dynmesh.InstanceID]struct{}

	unreachable  bool // somebody who is alive cannot reach it: that it reaches others does not count
	peer         bool // counted in peers
	targetMarked bool
	memberMarked bool
}

// ID returns the process's ID: that of its instances.
func (p *Process) ID() dynmesh.InstanceID { return p.id }

// Member returns what gossip knows of the process; nil if that is nothing.
func (p *Process) Member() *dynmesh.Member { return p.member }

// Info returns what the process told the registry of itself; nil if that is nothing.
func (p *Process) Info() *dynmesh.MemberInfo { return p.info }

// Instances are those of the process, shown or not.
func (p *Process) Instances() iter.Seq[*Instance] { return slices.Values(p.instances) }

// state is what gossip says of the process; empty: nothing.
func (p *Process) state() dynmesh.MemberState {
	if p.member == nil {
		return ""
	}
	return p.member.State
}

// isAlive says whether the process is a member that may answer.
func (p *Process) isAlive() bool {
	return p.state() == dynmesh.Alive || p.state() == dynmesh.Suspect
}

// isDead says whether the process was a member until gossip lost it or it left.
func (p *Process) isDead() bool {
	return p.state() == dynmesh.Dead || p.state() == dynmesh.Left
}

// current says whether a report of the process is one of its present incarnation.
func (p *Process) current(r *report) bool {
	return r != nil && (p.member == nil || r.observer.Epoch >= p.member.Epoch)
}

// report returns a report of the process that is one of its present incarnation; nil: there is
// none.
func (p *Process) report(r *report, of dynmesh.Subject) *dynmesh.Report {
	if !p.current(r) {
		return nil
	}
	said := r.of(of).Report
	return &said
}

// restart begins a new incarnation: what others found of the process was found of an earlier one.
func (p *Process) restart() {
	p.paths.expire()
	for _, i := range p.instances {
		i.paths.expire()
		i.withdrawn = false
	}
}

// observedBy says whether a report of the observer about the process or its instances still stands.
func (p *Process) observedBy(id dynmesh.InstanceID) bool {
	return p.paths.of(id) || slices.ContainsFunc(p.instances, func(i *Instance) bool { return i.paths.of(id) })
}

// observe remembers that the process has reported on another one.
func (p *Process) observe(id dynmesh.InstanceID) {
	if p.observes == nil {
		p.observes = map[dynmesh.InstanceID]struct{}{}
	}
	p.observes[id] = struct{}{}
}

// gossips says whether the process has told the registry that it takes part in gossip.
func (p *Process) gossips() bool { return p.info != nil && p.info.GossipAddr != "" }

// empty says whether nothing is known of the process any more.
func (p *Process) empty() bool {
	return p.member == nil && p.info == nil && p.own == nil && len(p.instances)+len(p.paths)+len(p.observes) == 0
}

// path is a report of another, with who made it and whether that one is believed.
func (ps *processes) path(r *report) verdict.Path {
	by := ps.byID[r.observer.ID]
	return verdict.Path{
		By: ps.nameOf(r.observer), State: ps.stateOf(r.observer), ObserverUnreachable: by != nil && by.unreachable, Stale: r.stale,
		Finding: r.finding, Reason: r.reason, Detail: r.detail, At: r.time(),
	}
}

// processes are all that are known, by ID. They decide whose reports count.
type processes struct {
	self      dynmesh.Observer
	byID      map[dynmesh.InstanceID]*Process
	marks     *marks
	gossiping int // others that, by the registry, take part in gossip
	peers     int // other members that may have an opinion: those that are alive and not unreachable
}

// get returns a process, a new one where there is none.
func (ps *processes) get(id dynmesh.InstanceID) *Process {
	p := ps.byID[id]
	if p == nil {
		p = &Process{id: id}
		ps.byID[id] = p
	}
	return p
}

// collect forgets a process of which nothing is known any more.
func (ps *processes) collect(p *Process) {
	if p.empty() {
		delete(ps.byID, p.id)
	}
}

// inform sets what a process told the registry of itself; nil: nothing any more.
func (ps *processes) inform(p *Process, info *dynmesh.MemberInfo) {
	before := p.gossips()
	p.info = info
	if p.id != ps.self.ID && before != p.gossips() {
		ps.marks.status = true
		if before {
			ps.gossiping--
		} else {
			ps.gossiping++
		}
	}
	ps.marks.target(p)
	ps.rename(p)
}

// rename takes note that people know a process by something else now: in what is said of it, and in
// what it has reported of others.
func (ps *processes) rename(p *Process) {
	ps.reevaluate(p)
	for id := range p.observes {
		ps.reevaluate(ps.byID[id])
	}
}

// reevaluate takes note that what others say of a process may count differently now, and so what it
// says of others. A process that is unreachable stays so until somebody reaches it.
func (ps *processes) reevaluate(p *Process) {
	missed, reached := false, false
	for i := range p.paths {
		r := &p.paths[i]
		missed = missed || !r.stale && r.finding == dynmesh.Fail && ps.stateOf(r.observer) == dynmesh.Alive
		reached = reached || r.finding == dynmesh.Pass && ps.path(r).Counts()
	}
	ps.marks.process(p)
	ps.collect(p)
	if unreachable := missed || p.unreachable && !reached; unreachable != p.unreachable {
		p.unreachable = unreachable
		for id := range p.observes { // ends: nobody becomes unreachable, or is found again, because another is
			ps.reevaluate(ps.byID[id])
		}
	}
	ps.countPeer(p)
}

// countPeer keeps peers. Who is left alone, or no longer, looks again at all that somebody cannot
// reach.
func (ps *processes) countPeer(p *Process) {
	peer := p.isAlive() && !p.unreachable && p.id != ps.self.ID
	if peer == p.peer {
		return
	}
	p.peer = peer
	before := ps.peers
	if peer {
		ps.peers++
	} else {
		ps.peers--
	}
	if (before == 0) == (ps.peers == 0) {
		return
	}
	for _, other := range ps.byID {
		if other.unreachable {
			ps.marks.process(other)
		}
	}
}

// stateOf returns how an observer is, in the incarnation that is meant; empty if it is no member.
func (ps *processes) stateOf(o dynmesh.Observer) dynmesh.MemberState {
	if o == ps.self {
		return dynmesh.Alive
	}
	if p := ps.byID[o.ID]; p != nil && p.member != nil && p.member.Epoch == o.Epoch {
		return p.member.State
	}
	return ""
}

// nameOf returns what people know a process by.
func (ps *processes) nameOf(o dynmesh.Observer) string {
	if o.ID == ps.self.ID {
		return "this frontend"
	}
	name, host := "member", ""
	if p := ps.byID[o.ID]; p != nil {
		switch {
		case p.member != nil:
			name = string(p.member.Role)
		case p.info != nil:
			name = string(p.info.Role)
		}
		if p.info != nil && p.info.Host != "" {
			host = " on " + p.info.Host
		}
	}
	return name + " " + o.ID.String() + host
}
