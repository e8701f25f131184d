package probe

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// MaxForeign is of how many foreign instances one frontend reports. Members take 65,536
// observations of one observer, and a frontend reports of members, too. Of more instances, those go
// without a report that another frontend is to watch as well, and better; then those that came
// last.
const MaxForeign = 60_000

// MaxHostPorts is how many addresses of one host a frontend watches. Instances at more of them go
// without a report: no host has so many workers, but whoever may write into a registry could have
// each of its ports tried.
const MaxHostPorts = 1024

// foreign is the instances whose workers are no members. Frontends watch them, because only those
// read the registry: all instances of a worker by the same frontends, and all that have one address
// by one watch.
type foreign struct {
	assignment *Assignment
	instances  map[dynmesh.InstanceID][]foreignInstance
	targets    map[string]*target // by address
	ports      map[string]int     // targets, by host

	idle int // idle connections that are open, or being made

	systems         map[dynmesh.InstanceID]*system
	systemDeadlines timers.Queue[time.Duration, *system]
	health          bool // system ports are asked for /health, too

	sendsCanaries   bool
	models          map[string]map[dynmesh.Subject]dynmesh.Served // who serves which, near and far
	canaries        map[dynmesh.InstanceID]*canaries
	canaryDeadlines timers.Queue[time.Duration, *canaries]
	unproven        map[dynmesh.InstanceID]struct{} // of canaries: those whose last ones did not reach their worker

	limit    int               // MaxForeign, but in tests
	reported int               // instances of which targets report
	overflow overflow          // ours to watch, and beyond MaxForeign
	shared   []foreignInstance // some that give way: we are their second watcher, or were
	searched bool              // and there are no others
}

type foreignInstance struct {
	subject dynmesh.Subject
	dynmesh.Foreign
}

// MaxIdle is how many idle connections to foreign workers a frontend keeps: each is a file
// descriptor. More addresses are dialled from time to time.
const MaxIdle = 8192

// Of how many idle connections the kernel asks in a second whether the other host is there, at
// most: of each every second where there are no more.
const silencePace = 500 * time.Microsecond

// silence is how long nothing may be heard of another host before this one's kernel asks.
func (f *foreign) silence() time.Duration {
	return max(time.Second, time.Duration(len(f.targets))*silencePace)
}

func newForeign(self dynmesh.InstanceID) *foreign {
	return &foreign{
		assignment: NewAssignment(self),
		instances:  make(map[dynmesh.InstanceID][]foreignInstance), targets: make(map[string]*target), ports: make(map[string]int),
		systems: make(map[dynmesh.InstanceID]*system),
		models:  make(map[string]map[dynmesh.Subject]dynmesh.Served), canaries: make(map[dynmesh.InstanceID]*canaries),
		unproven: make(map[dynmesh.InstanceID]struct{}),
		limit:    MaxForeign, overflow: overflow{set: make(map[dynmesh.Subject]struct{})},
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
			p.handovers.endAt(handover{target: worker, foreign: true}, p.now+HandoverGrace)
		}
	} else {
		for _, worker := range f.assignment.Leave(id) {
			for _, at := range f.instances[worker] {
				p.attach(at.subject, at.Foreign)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(f.instances)) { // whose turn it is to ask may have changed
		p.systemChanged(id)
		p.canariesChanged(id)
	}
	for range len(f.overflow.set) { // each of which may be ours alone now, or no longer
		p.admit(f.overflow.next())
	}
}

// admit has an instance reported of that had to wait, if it is still ours and there is room, and
// says whether it is. Where its host is crowded it goes on waiting, behind the others.
func (p *Prober) admit(s dynmesh.Subject) bool {
	f := p.foreign
	for _, at := range f.instances[s.ID] {
		if at.subject == s && f.assignment.Mine(s.ID) {
			p.attach(s, at.Foreign)
			_, waits := f.overflow.set[s]
			return !waits
		}
	}
	return false
}

// watchForeign has an instance watched somewhere, or no longer where that is nowhere.
func (p *Prober) watchForeign(s dynmesh.Subject, where dynmesh.Foreign) {
	f, addr := p.foreign, where.Addr
	instances := f.instances[s.ID]
	n := slices.IndexFunc(instances, func(at foreignInstance) bool { return at.subject == s })
	known, freed := n >= 0, false
	if known {
		f.unserve(s, instances[n].Serves)
	}
	if addr != "" {
		f.serve(s, where.Serves)
	}
	if known && instances[n].Addr != addr {
		f.overflow.remove(s)
		freed = p.endReport(s, instances[n].Addr)
	}
	switch {
	case addr != "" && known:
		if t := f.targets[addr]; t != nil {
			t.idle = where.Idle
		}
		instances[n].Foreign = where
	case addr != "":
		f.instances[s.ID] = append(instances, foreignInstance{s, where})
	case known && len(instances) == 1:
		delete(f.instances, s.ID)
		f.assignment.Remove(s.ID)
	case known:
		f.instances[s.ID] = slices.Delete(instances, n, n+1)
	}
	if addr != "" && f.assignment.Add(s.ID) {
		p.attach(s, where)
	}
	p.systemChanged(s.ID)
	p.canariesChanged(s.ID)
	if freed { // after the instance itself, which may only have moved
		p.fill()
	}
}

// attach has the watch of the address report of the instance, if there is room.
func (p *Prober) attach(s dynmesh.Subject, where dynmesh.Foreign) {
	f, addr := p.foreign, where.Addr
	if t := f.targets[addr]; t != nil && t.subjects.has(s) {
		return
	}
	first, host := f.isFirst(s.ID), hostOf(addr)
	crowded := f.targets[addr] == nil && f.ports[host] >= MaxHostPorts
	if crowded || f.reported >= f.limit && (!first || !p.makeRoom()) {
		f.overflow.add(s)
		return
	}
	f.overflow.remove(s)
	f.reported++
	f.searched = f.searched && first
	if t := f.targets[addr]; t != nil {
		t.subjects.add(s)
		p.report(s, t)
		return
	}
	t := newTarget(target{
		id: s.ID, service: addr, idle: where.Idle, subjects: subjects{list: []dynmesh.Subject{s}},
		address: watch.NewForeign(p.random.Uint64(), p.now),
	})
	f.targets[addr] = t
	f.ports[host]++
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
	for len(f.shared) > 0 || !f.searched {
		if len(f.shared) == 0 { // some may have come since the last search
			f.searched = true
			for id, instances := range f.instances {
				if !f.isFirst(id) {
					f.shared = append(f.shared, instances...)
				}
			}
			slices.SortStableFunc(f.shared, func(a, b foreignInstance) int { return cmp.Compare(a.subject.ID, b.subject.ID) })
			continue
		}
		last := len(f.shared) - 1
		at := f.shared[last]
		f.shared = f.shared[:last]
		if !f.isFirst(at.subject.ID) && p.endReport(at.subject, at.Addr) {
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

// fill has one of those that wait take the place that is free, if it still is. Those of crowded
// hosts go behind the others: with a bound, as they would come round again.
func (p *Prober) fill() {
	f := p.foreign
	for range min(len(f.overflow.set), MaxHostPorts) {
		if f.reported >= f.limit || p.admit(f.overflow.next()) {
			return
		}
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
	if !t.subjects.remove(s) {
		return false
	}
	f.reported--
	p.withdraw(s)
	if len(t.subjects.list) == 0 {
		p.close(t)
		delete(f.targets, addr)
		if host := hostOf(addr); f.ports[host] > 1 {
			f.ports[host]--
		} else {
			delete(f.ports, host)
		}
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
		if t := f.targets[at.Addr]; t != nil && t.fails() {
			ended = false
			continue
		}
		p.detach(at.subject, at.Addr)
	}
	return ended
}

// systemChanged has the system port of a worker asked, or no longer, by where its instances say
// that it is, and by whose it is to ask.
func (p *Prober) systemChanged(id dynmesh.InstanceID) {
	f := p.foreign
	addr := ""
	if f.isFirst(id) {
		for _, at := range f.instances[id] {
			if addr = at.System; addr != "" {
				break
			}
		}
	}
	s := f.systems[id]
	if s != nil && s.addr == addr || s == nil && addr == "" {
		return
	}
	if s != nil {
		s.ended = true
		f.systemDeadlines.Stop(&s.deadline)
		delete(f.systems, id)
		p.reportWorker(id)
	}
	if addr == "" {
		return
	}
	s = &system{id: id, addr: addr, state: watch.NewSystem(p.random.Uint64(), p.now)}
	s.deadline.Value = s
	f.systems[id] = s
	p.stepSystem(s, watch.Event{})
}

// stepSystem takes an event and does what follows.
func (p *Prober) stepSystem(s *system, e watch.Event) {
	f := p.foreign
	e.Unhealthy = p.unhealthy(s.id)
	var a watch.SystemAsks
	s.state, a = s.state.Step(e, max(watch.SystemPeriod, time.Duration(len(f.systems))*systemPace), p.now)
	if a.Ask {
		p.dial(&Dial{Kind: AskSystem, Addr: s.addr, system: s})
	}
	if a.Read {
		p.dial(&Dial{Kind: AskStatus, Addr: s.addr, system: s, Engine: !s.status.NoEngine, Health: p.foreign.health && !s.status.NoHealth})
	}
	if a.Changed {
		p.reportWorker(s.id)
	}
	f.systemDeadlines.Set(&s.deadline, a.Wake)
}

// systemDialed takes in how a question ended.
func (p *Prober) systemDialed(e DialEnded) {
	s := e.Dial.system
	if p.stopped || s.ended {
		return
	}
	if e.Dial.Kind == AskSystem {
		switch {
		case e.Outcome == watch.Accepted:
			p.health.answered(s.id, p.now)
		case e.Outcome == watch.TimedOut && !s.state.Frozen(): // the next one may be silent, too
			p.health.suspect(p.now)
		}
		p.stepSystem(s, watch.Event{Kind: watch.SystemAsked, Outcome: e.Outcome})
		return
	}
	if e.Outcome == watch.Accepted {
		before, other, first := s.status, s.other, !s.read
		s.status, s.read = e.Status, true
		s.status.NoEngine = s.status.NoEngine || before.NoEngine
		s.status.NoHealth = s.status.NoHealth || before.NoHealth
		s.other = s.status.Worker != "" && s.status.Worker != s.id.String()
		if first || other != s.other || before.Draining != s.status.Draining || load(before.InFlight) != load(s.status.InFlight) ||
			!slices.Equal(before.NotReady, s.status.NotReady) {
			p.reportWorker(s.id)
		}
	}
	p.stepSystem(s, watch.Event{Kind: watch.SystemRead, Outcome: e.Outcome})
}

// canariesChanged has a worker sent canaries, or none any longer, by what its instances serve, and
// by whose it is to ask.
func (p *Prober) canariesChanged(id dynmesh.InstanceID) {
	f := p.foreign
	c := f.canaries[id]
	serves := func(at foreignInstance) bool { return at.Serves.Request != "" || at.Serves.Prefill }
	switch wanted := f.sendsCanaries && f.isFirst(id) && slices.ContainsFunc(f.instances[id], serves); {
	case wanted && c == nil: // soon, but not all at once
		spread := max(time.Second, time.Duration(len(f.canaries))*canaryPace)
		c = newCanaries(id, p.now+time.Duration(p.random.Int64N(int64(spread))))
		f.canaries[id] = c
	case !wanted && c != nil:
		c.ended = true
		f.canaryDeadlines.Stop(&c.deadline)
		delete(f.canaries, id)
		delete(f.unproven, id)
		p.reportWorker(id)
		return
	case !wanted:
		return
	}
	c.serve(f.instances[id])
	f.canaryDeadlines.Set(&c.deadline, max(c.at, p.now))
	p.reportWorker(id)
}

// stepCanaries does what is due of the canaries to one worker.
func (p *Prober) stepCanaries(c *canaries) {
	period := p.foreign.canaryPeriod()
	if c.expire(period, p.now) {
		p.reportWorker(c.id)
	}
	if c.asking == nil && p.now >= c.at {
		p.sendCanary(c, period)
	}
	wake := c.at
	if c.asking != nil {
		wake = p.now + period
	}
	p.foreign.canaryDeadlines.Set(&c.deadline, wake)
}

// sendCanary sends the next canary to a worker, or has it wait: what cannot be reached, or drains,
// or has nobody to be asked together with, gets none.
func (p *Prober) sendCanary(c *canaries, period time.Duration) {
	t := c.next()
	canary, partner, ok := p.foreign.canaryFor(c, t)
	if !ok || !p.foreign.asks(t.subject) {
		t.sent, c.at = p.now, p.now+holdPause
		return
	}
	d := &Dial{Kind: SendCanary, Canary: canary, canaries: c}
	if s := p.foreign.systems[c.id]; s != nil && s.state.Answered() && !s.other {
		d.Addr = s.addr
	}
	c.begin(t, partner, period, p.now)
	p.dial(d)
}

// canaryEnded takes in what became of a canary.
func (p *Prober) canaryEnded(e DialEnded) {
	f, c := p.foreign, e.Dial.canaries
	if p.stopped || c.ended {
		return
	}
	if e.Canary.Outcome == CanaryHeld {
		c.suspend(p.now)
	}
	others := e.Canary.Outcome == CanaryFailed && len(f.partners(c.asking.subject)) > 1
	if c.end(e.Canary, others, f.canaryPeriod()) {
		p.reportWorker(c.id)
	}
	delete(f.unproven, c.id)
	if c.unreached >= unreachedTold {
		f.unproven[c.id] = struct{}{}
	}
	f.canaryDeadlines.Set(&c.deadline, max(c.at, p.now))
}

// reportWorker says anew what is found of a worker's instances.
func (p *Prober) reportWorker(id dynmesh.InstanceID) {
	for _, at := range p.foreign.instances[id] {
		if t := p.foreign.targets[at.Addr]; t != nil && t.subjects.has(at.subject) {
			p.report(at.subject, t)
		}
	}
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
