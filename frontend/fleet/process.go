package fleet

import (
	"iter"
	"slices"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/verdict"
)

// Process is one process of the fleet: a worker, or a frontend that observes workers. There may be
// 100,000 of which little is known: a test bounds its size.
type Process struct {
	id         dynmesh.InstanceID
	told       *dynmesh.MemberInfo // what it told the registry of itself; nil: nothing
	member     *dynmesh.Member     // as gossip knows it; nil: it does not
	lastMember *dynmesh.Member     // as gossip knew it when it forgot it, dead or left
	observed   *observed           // nil: nothing
	instances  []*Instance         // that it serves
	cards      map[dynmesh.CardKey]*dynmesh.ModelCard

	joined       bool // it has been a member
	listed       bool // the registry has what it told; if not, that is kept for as long as it is alive
	peer         bool // counted in peers
	targetMarked bool
	memberMarked bool
}

// observed is what was observed of a process as a whole, and by it of others.
type observed struct {
	own         *report                         // its word of itself; nil: none
	paths       paths                           // what others found of it
	subjects    map[dynmesh.InstanceID]struct{} // processes that it has found something of
	unreachable bool                            // somebody who is alive cannot reach it: that it reaches others does not count
}

// ID returns the process's ID: that of its instances.
func (p *Process) ID() dynmesh.InstanceID { return p.id }

// Member returns what gossip knows of the process; nil if that is nothing.
func (p *Process) Member() *dynmesh.Member { return p.member }

// Listed returns what the registry has of the process itself; nil if that is nothing.
func (p *Process) Listed() *dynmesh.MemberInfo {
	if !p.listed {
		return nil
	}
	return p.told
}

// Told returns what the process told the registry of itself, even if the registry does not list it
// any longer: a worker that drains, or whose lease has lapsed, is still known by its host. Nil if
// that is nothing.
func (p *Process) Told() *dynmesh.MemberInfo { return p.told }

// Instances are those of the process, shown or not.
func (p *Process) Instances() iter.Seq[*Instance] { return slices.Values(p.instances) }

// seen returns what was observed of the process, and by it.
func (p *Process) seen() observed {
	if p.observed == nil {
		return observed{}
	}
	return *p.observed
}

// see returns the same, to be changed.
func (p *Process) see() *observed {
	if p.observed == nil {
		p.observed = &observed{}
	}
	return p.observed
}

// state is what gossip says of the process; empty: nothing. Whoever gossips in its name, with
// another key than the registry has of it, is not the process.
func (p *Process) state() dynmesh.MemberState {
	if p.member == nil || p.impersonated() {
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

// impersonated says whether the registry has another key of the process than the member of its
// name.
func (p *Process) impersonated() bool {
	return p.member != nil && p.told != nil && p.told.PublicKey != "" && p.told.PublicKey != p.member.PublicKey
}

// current says whether a report of the process is one of its present incarnation.
func (p *Process) current(r *report) bool {
	return r != nil && (p.member == nil || r.observer.Epoch >= p.member.Epoch) && !p.impersonated()
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
	p.seen().paths.expire()
	for _, i := range p.instances {
		i.paths.expire()
		i.withdrawn = false
	}
}

// observedBy says whether a report of the observer about the process or its instances still stands.
func (p *Process) observedBy(id dynmesh.InstanceID) bool {
	return p.seen().paths.of(id) || slices.ContainsFunc(p.instances, func(i *Instance) bool { return i.paths.of(id) })
}

// observe remembers that the process has reported on another one.
func (p *Process) observe(id dynmesh.InstanceID) {
	o := p.see()
	if o.subjects == nil {
		o.subjects = map[dynmesh.InstanceID]struct{}{}
	}
	o.subjects[id] = struct{}{}
}

// gossips says whether the process has told the registry that it takes part in gossip.
func (p *Process) gossips() bool { return p.listed && p.told.Gossips() }

// empty says whether nothing is known of the process any more.
func (p *Process) empty() bool {
	return p.member == nil && p.told == nil && len(p.instances)+len(p.cards) == 0 && p.seen().empty()
}

func (o observed) empty() bool { return o.own == nil && len(o.paths)+len(o.subjects) == 0 }

// path is a report of another, with who made it and whether that one is believed. This process
// cannot have died with what it observes: that others lost it counts in its health score alone.
func (ps *processes) path(r *report) verdict.Path {
	by := ps.byID[r.observer.ID]
	return verdict.Path{
		Kind: r.kind, Draining: r.draining, By: ps.nameOf(r.observer), State: ps.stateOf(r.observer), Unregistered: !ps.vouched(r.observer),
		ObserverUnreachable: by != nil && by.id != ps.self.ID && by.seen().unreachable, Stale: r.stale,
		Finding: r.finding.Value(), Reason: r.reason.Value(), Detail: r.detail.Value(), Latency: r.latency, At: r.time(),
	}
}

// processes are all that are known, by ID. They decide whose reports count.
type processes struct {
	self      dynmesh.Observer
	byID      map[dynmesh.InstanceID]*Process
	marks     *marks
	registers bool                      // the registry holds what processes tell of themselves, and that has been read
	keys      map[dynmesh.KeySource]int // members that have their gossip keys from there, this one as well
	gossiping int                       // others that, by the registry, take part in gossip
	peers     int                       // other members that may have an opinion: those that are alive and not unreachable
	shut      map[*Process]struct{}     // whose ports of gossip are, and nothing else
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
	if p.observed != nil && p.observed.empty() && !p.observed.unreachable {
		p.observed = nil
	}
	if p.empty() {
		delete(ps.byID, p.id)
	}
}

// keySource says where a process that is registered has its gossip keys from; empty: it does not
// say.
func (p *Process) keySource() dynmesh.KeySource {
	if !p.listed || p.told == nil {
		return ""
	}
	return p.told.GossipKey
}

// inform sets what the registry has of a process itself; nil: nothing any more.
func (ps *processes) inform(p *Process, info *dynmesh.MemberInfo) {
	before, had := p.gossips(), p.keySource()
	if p.listed = info != nil; p.listed {
		p.told = info
	}
	p.prune()
	if p.id != ps.self.ID && before != p.gossips() {
		ps.marks.status = true
		if before {
			ps.gossiping--
		} else {
			ps.gossiping++
		}
	}
	if has := p.keySource(); has != had {
		ps.marks.status = true
		ps.keys[had]--
		ps.keys[has]++
	}
	ps.marks.target(p)
	if p.member != nil {
		ps.marks.member(p) // it may be vouched for, or no longer
	}
	ps.rename(p)
}

// enforce has nobody count any longer who is not registered. The registry has just been read.
func (ps *processes) enforce() {
	ps.registers = true
	for _, p := range ps.byID {
		if p.member != nil {
			ps.marks.member(p)
		}
		ps.rename(p)
	}
}

// prune forgets what a process told, once neither the registry lists it nor gossip says that it
// is alive.
func (p *Process) prune() {
	if !p.listed && !p.isAlive() {
		p.told = nil
	}
}

// rename takes note that people know a process by something else now: in what is said of it, and in
// what it has reported of others.
func (ps *processes) rename(p *Process) {
	ps.reevaluate(p)
	for id := range p.seen().subjects {
		ps.reevaluate(ps.byID[id])
	}
}

// reevaluate takes note that what others say of a process may count differently now, and so what it
// says of others. A process that is unreachable stays so until somebody reaches it.
func (ps *processes) reevaluate(p *Process) {
	missed, reached, shut := false, false, false
	seen := p.seen()
	for i := range seen.paths {
		r := &seen.paths[i]
		missed = missed || !r.stale && r.finding.Value() == dynmesh.Fail && ps.stateOf(r.observer) == dynmesh.Alive && ps.vouched(r.observer)
		passes := r.finding.Value() == dynmesh.Pass && ps.path(r).Counts()
		reached, shut = reached || passes, shut || passes && r.reason.Value() != ""
	}
	ps.setShut(p, shut)
	ps.marks.process(p)
	ps.collect(p)
	if unreachable := missed || seen.unreachable && !reached; unreachable != seen.unreachable {
		p.see().unreachable = unreachable
		for id := range seen.subjects { // ends: that another is found can only make one found again, never unreachable
			ps.reevaluate(ps.byID[id])
		}
	}
	ps.countPeer(p)
}

// setShut takes note of a process whose port of gossip is cut off, and nothing else of it.
func (ps *processes) setShut(p *Process, is bool) {
	if _, was := ps.shut[p]; was == is {
		return
	}
	ps.marks.status = true
	if is {
		ps.shut[p] = struct{}{}
	} else {
		delete(ps.shut, p)
	}
}

// countPeer keeps peers. Who is left alone, or no longer, looks again at all that somebody cannot
// reach: those are all whose verdict that decides. It decides only where the worker is alive; and
// one that is alive and not unreachable as a whole, whatever is found of its instances, is itself a
// peer, with whom nobody is alone.
func (ps *processes) countPeer(p *Process) {
	peer := p.isAlive() && !p.seen().unreachable && p.id != ps.self.ID && ps.vouched(p.member.Observer)
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
		if other.seen().unreachable {
			ps.marks.process(other)
		}
	}
}

// vouched says whether what an observer finds of others counts: whoever may write to the registry
// has registered it, under the key that it signs with. A member that was registered stays vouched
// for as long as it is alive, whatever becomes of the registry. Where no registry holds members, or
// none could be read yet, all do that gossip knows.
func (ps *processes) vouched(o dynmesh.Observer) bool {
	if o.ID == ps.self.ID || !ps.registers {
		return true
	}
	p := ps.byID[o.ID]
	return p != nil && p.member != nil && p.told != nil && p.told.PublicKey == p.member.PublicKey
}

// stateOf returns how an observer is, in the incarnation that is meant; empty if it is no member.
func (ps *processes) stateOf(o dynmesh.Observer) dynmesh.MemberState {
	if o == ps.self {
		return dynmesh.Alive
	}
	if p := ps.byID[o.ID]; p != nil && p.member != nil && p.member.Epoch == o.Epoch {
		return p.state()
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
		case p.told != nil:
			name = string(p.told.Role)
		}
		if p.told != nil && p.told.Host != "" {
			host = " on " + p.told.Host
		}
	}
	return name + " " + o.ID.String() + host
}
