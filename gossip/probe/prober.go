package probe

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
	"github.com/dynmesh/dynmesh/internal/timers"
)

const (
	// HandoverGrace is how long a worker is watched on when it has become somebody else's to watch:
	// that one has to find out first, and meanwhile what is known shall not be missing.
	HandoverGrace = 10 * time.Second

	// duePerTick bounds the work of one Tick, so that times that are measured in it are not late.
	duePerTick = 64

	// never is later than everything.
	never = time.Duration(1<<63 - 1)
)

// Prober watches the members that are this one's to watch, and on a frontend the addresses of
// foreign instances. Times are since a moment of the caller's choice. It is not safe for concurrent
// use.
type Prober struct {
	self    dynmesh.InstanceID
	random  *rand.Rand
	stopped bool

	members        map[dynmesh.InstanceID]*Member // but for this one
	assignment     *Assignment                    // of members, to each other
	failureReports failureReports
	targets        map[dynmesh.InstanceID]*target // members, by ID
	foreign        *foreign                       // nil but on frontends
	handovers      handovers

	deadlines timers.Queue[time.Duration, *target] // of targets
	queues    dialQueues
	health    localHealth
	shut      bool // nothing reaches this member, though it reaches others

	now time.Duration // of the event that is being handled
	out Actions       // what follows from it
}

// New returns the prober of a member. What it leaves to chance follows from the seed. Only
// frontends watch foreign instances.
func New(self dynmesh.InstanceID, frontend bool, seed uint64) *Prober {
	p := &Prober{
		self: self, random: rand.New(rand.NewPCG(seed, 0)),
		members: make(map[dynmesh.InstanceID]*Member), assignment: NewAssignment(self),
		failureReports: make(failureReports), targets: make(map[dynmesh.InstanceID]*target), queues: newDialQueues(),
		handovers: handovers{timers: make(map[handover]*handoverTimer)},
	}
	p.assignment.Add(self) // for Watchers: nobody watches itself
	p.health = newLocalHealth(p.random.Uint64())
	if frontend {
		p.foreign = newForeign(self)
	}
	return p
}

// AskHealth has system ports asked for /health, too: see gossip.Config.
func (p *Prober) AskHealth() {
	if p.foreign != nil {
		p.foreign.health = true
	}
}

// SendCanaries has workers that are no members sent canaries: see gossip.Config.
func (p *Prober) SendCanaries() {
	if p.foreign != nil {
		p.foreign.sendsCanaries = true
	}
}

// Handle takes an event and returns what is to be done.
func (p *Prober) Handle(e Event, now time.Duration) Actions {
	p.now, p.out = now, Actions{}
	switch e := e.(type) {
	case DialEnded:
		p.dialEnded(e)
	case TripwireClosed:
		p.tripwireClosed(e)
	}
	if p.stopped {
		return p.out
	}
	switch e := e.(type) {
	case MemberChanged:
		p.memberChanged(e.Member)
	case MemberGone:
		p.memberGone(e.Observer)
	case Reported:
		p.reported(e)
	case ForeignWatched:
		if p.foreign != nil {
			p.watchForeign(e.Subject, e.Foreign)
		}
	case Ponged:
		p.ponged(e)
	case Spoke:
		if t := p.targets[e.Observer.ID]; t != nil && t.member.Observer == e.Observer {
			p.step(t, watch.Event{Kind: watch.Spoke})
		}
	case Shut:
		p.shut = bool(e)
	case Tick:
		p.tick()
	case Stop:
		p.stop()
		return p.out
	}
	p.startDials()
	return p.out
}

// Next is when a Tick is due.
func (p *Prober) Next(now time.Duration) time.Duration {
	if p.stopped {
		return never
	}
	at := min(p.health.wake(now), p.queues.due())
	if due, ok := p.deadlines.Next(); ok {
		at = min(at, due)
	}
	if p.foreign != nil {
		if due, ok := p.foreign.systemDeadlines.Next(); ok {
			at = min(at, due)
		}
		if due, ok := p.foreign.canaryDeadlines.Next(); ok {
			at = min(at, due)
		}
	}
	if due, ok := p.handovers.Next(); ok {
		at = min(at, due)
	}
	return at
}

// Unreachable reports whether somebody who is there says that a member cannot be reached.
func (p *Prober) Unreachable(id dynmesh.InstanceID) bool {
	for by := range p.failureReports[id] {
		if m := p.members[by]; by == p.self || m != nil && m.Alive {
			return true
		}
	}
	return false
}

// Unreported is how many foreign instances are this member's to watch and go without a report: see
// [MaxForeign].
func (p *Prober) Unreported() int {
	if p.foreign == nil {
		return 0
	}
	return len(p.foreign.overflow.set)
}

// Unproven is how many foreign workers this member sends canaries that do not reach them, and what
// is in the way of one of them.
func (p *Prober) Unproven() (workers int, obstacle string) {
	if p.foreign == nil || len(p.foreign.unproven) == 0 {
		return 0, ""
	}
	first := slices.Min(slices.Collect(maps.Keys(p.foreign.unproven)))
	return len(p.foreign.unproven), p.foreign.canaries[first].obstacle
}

// Watches reports whether a member's process is watched by this one.
func (p *Prober) Watches(id dynmesh.InstanceID) bool { return p.targets[id] != nil }

// Watchers returns who is to watch a worker, as [Assignment.Of] does.
func (p *Prober) Watchers(id dynmesh.InstanceID) []dynmesh.InstanceID { return p.assignment.Of(id) }

func (p *Prober) memberChanged(m Member) {
	if m.ID == p.self {
		return
	}
	p.members[m.ID] = &m
	p.reconsider(m.ID)
	p.reconsiderReportedBy(m.ID)
	switch {
	case m.Left:
		p.removeTarget(m.ID)
	case p.assignment.Add(m.ID) || p.targets[m.ID] != nil:
		p.watchMember(&m)
	}
}

func (p *Prober) memberGone(o dynmesh.Observer) {
	m := p.members[o.ID]
	if m == nil || m.Observer != o {
		return
	}
	delete(p.members, o.ID)
	p.takeOver(p.assignment.Leave(o.ID))
	p.reconsiderReportedBy(o.ID)
	if p.foreign != nil && m.Frontend {
		p.frontendChanged(o.ID, false)
	}
	p.removeTarget(o.ID)
}

// ponged takes each answer to a ping. Where another process has answered for a worker, the worker
// has not.
func (p *Prober) ponged(e Ponged) {
	if p.health.sent(e.Nonce) {
		p.health.answered(e.From.ID, p.now)
		return
	}
	t := p.targets[e.From.ID]
	other := t == nil || !t.state.Sent(e.Nonce) || e.From.Epoch < t.member.Epoch
	if t == nil || !t.state.Sent(e.Nonce) {
		t = p.pinged(e.Nonce)
	}
	if t != nil {
		p.health.answered(e.From.ID, p.now)
		p.step(t, watch.Event{Kind: watch.Ponged, Nonce: e.Nonce, Other: other})
	}
}

// pinged returns the target that the ping was for, or nil.
func (p *Prober) pinged(nonce uint64) *target {
	for _, t := range p.targets {
		if t.state.Sent(nonce) {
			return t
		}
	}
	return nil
}

func (p *Prober) dialEnded(e DialEnded) {
	d := e.Dial
	t := d.target
	p.queues.of(d).running--
	if t == nil {
		if d.canaries != nil {
			p.canaryEnded(e)
		} else {
			p.systemDialed(e)
		}
		return
	}
	if p.stopped || t.ended || (d.Kind == OpenTripwire || d.Idle) && t.tripwire != d { // it is not wanted any longer
		return
	}
	accepted := e.Outcome == watch.Accepted
	if accepted {
		p.health.answered(t.id, p.now)
	}
	switch d.Kind {
	case OpenTripwire:
		p.step(t, watch.Event{Kind: watch.TripwireOpened, Outcome: e.Outcome})
	case DialService:
		if d.Idle && !accepted {
			p.release(t)
		}
		p.step(t, watch.Event{Kind: watch.ServiceDialed, Outcome: e.Outcome, Idle: d.Idle && accepted})
	case DialGossip:
		if accepted {
			p.out.Pings = append(p.out.Pings, Ping{To: t.member.Observer, Nonce: d.nonce, Stream: true})
		}
		p.step(t, watch.Event{Kind: watch.GossipDialed, Outcome: e.Outcome})
	}
}

func (p *Prober) tripwireClosed(e TripwireClosed) {
	t := e.Dial.target
	if p.stopped || t.ended || t.tripwire != e.Dial {
		return
	}
	p.release(t)
	kind := watch.TripwireClosed
	if e.Dial.Idle {
		kind = watch.ServiceClosed
	}
	p.step(t, watch.Event{Kind: kind, Outcome: e.Outcome})
}

// tick does what is due. A watch sees for itself whether it is late.
func (p *Prober) tick() {
	p.endHandovers()
	for range duePerTick {
		t, due := p.deadlines.Pop(p.now)
		if !due {
			break
		}
		p.step(t, watch.Event{})
	}
	if p.foreign != nil {
		for range duePerTick {
			s, due := p.foreign.systemDeadlines.Pop(p.now)
			if !due {
				break
			}
			p.stepSystem(s, watch.Event{})
		}
		for range duePerTick {
			c, due := p.foreign.canaryDeadlines.Pop(p.now)
			if !due {
				break
			}
			p.stepCanaries(c)
		}
	}
	p.startDials()
	p.pingWitnesses()
}

func (p *Prober) stop() {
	p.stopped = true
	for _, t := range p.targets {
		p.close(t)
	}
	if p.foreign != nil {
		for _, t := range p.foreign.targets {
			p.close(t)
		}
	}
}

// watchMember begins to watch a member, or begins anew because it has moved or begun another
// incarnation. What was said of it stands until there is something else to say.
func (p *Prober) watchMember(m *Member) *target {
	t := p.targets[m.ID]
	if t != nil && t.member.Observer == m.Observer && t.member.Addr == m.Addr {
		moved := t.service != m.Service
		t.member, t.service = m, m.Service
		if moved {
			p.step(t, watch.Event{Kind: watch.Readdressed, Service: m.Service != ""})
		}
		return t
	}
	if t != nil {
		p.close(t)
	}
	state := watch.NewMember(p.random.Uint64(), m.Service != "", p.now)
	t = newTarget(target{
		id: m.ID, member: m, state: &state, service: m.Service,
		subjects: subjects{list: []dynmesh.Subject{{ID: m.ID}}},
	})
	p.targets[m.ID] = t
	p.out.Degraded = append(p.out.Degraded, Degraded{m.Observer, false})
	p.step(t, watch.Event{})
	return t
}

// takeOver begins to watch what has become this member's, since somebody else is there no longer.
func (p *Prober) takeOver(ids []dynmesh.InstanceID) {
	for _, id := range ids {
		if m := p.members[id]; m != nil && !m.Left {
			p.step(p.watchMember(m), watch.Event{Kind: watch.Inherited})
		}
	}
}

// handOver has the watch of what has become somebody else's end after HandoverGrace. One that has
// said nothing yet ends at once: nobody would miss it. Whoever joins hears of the others one after
// the other, and each of the first is its own to watch until it hears of more: of n members, 2·ln n
// are for a moment.
func (p *Prober) handOver(ids []dynmesh.InstanceID) {
	for _, id := range ids {
		if t := p.targets[id]; t != nil && t.state.Finding() == (watch.Finding{}) {
			p.endIfHandedOver(id)
		} else {
			p.handovers.endAt(handover{target: id}, p.now+HandoverGrace)
		}
	}
}

// endHandovers ends watches whose grace is over, but for those that say that the worker cannot be
// reached: nobody takes that back because it is another's turn to watch. That one may be out of
// reach itself, and what it found before would be held against one voice less. More than
// duePerTick go on with the next Tick.
func (p *Prober) endHandovers() {
	for range duePerTick {
		h, due := p.handovers.pop(p.now)
		if !due {
			return
		}
		end := p.endIfHandedOver
		if h.foreign {
			end = p.endForeignIfHandedOver
		}
		if !end(h.target) {
			p.handovers.endAt(h, p.now+HandoverGrace)
		}
	}
}

// endIfHandedOver ends the watch of what is still somebody else's. It returns false for one that
// has failed, and goes on.
func (p *Prober) endIfHandedOver(id dynmesh.InstanceID) bool {
	t := p.targets[id]
	switch {
	case t == nil, p.assignment.Mine(id):
		return true
	case t.fails():
		return false
	}
	p.end(t)
	delete(p.targets, id)
	return true
}

// removeTarget forgets a worker that is not to be watched by anybody any longer.
func (p *Prober) removeTarget(id dynmesh.InstanceID) {
	p.assignment.Remove(id)
	if t := p.targets[id]; t != nil {
		p.end(t)
		delete(p.targets, id)
	}
}

func (p *Prober) reported(e Reported) {
	if e.Observer != e.Subject && p.failureReports.set(e.Subject, e.Observer, e.Failed) {
		p.reconsider(e.Subject)
	}
}

// reconsider has a member be a watcher, or no longer.
func (p *Prober) reconsider(id dynmesh.InstanceID) {
	m := p.members[id]
	if m == nil {
		return
	}
	watches := m.Alive && !p.Unreachable(id)
	if watches {
		p.handOver(p.assignment.Join(id))
	} else {
		p.takeOver(p.assignment.Leave(id))
	}
	if p.foreign != nil && m.Frontend {
		p.frontendChanged(id, watches)
	}
}

// reconsiderReportedBy is called when a member has come, or is gone: what it says of others counts
// from now on, or no longer.
func (p *Prober) reconsiderReportedBy(by dynmesh.InstanceID) {
	var reported []dynmesh.InstanceID
	for id, reporters := range p.failureReports {
		if _, reports := reporters[by]; reports {
			reported = append(reported, id)
		}
	}
	slices.Sort(reported)
	for _, id := range reported {
		p.reconsider(id)
	}
}

// unhealthy reports whether what this process does not hear of a member says nothing: there are
// other members, and it does not hear them either.
func (p *Prober) unhealthy(id dynmesh.InstanceID) bool {
	if !p.shut && p.health.well(id, p.now) {
		return false
	}
	for other, m := range p.members {
		if other != id && m.Alive {
			return true
		}
	}
	return false
}

// pingWitnesses pings some members, if it is time.
func (p *Prober) pingWitnesses() {
	if !p.health.due(p.now) {
		return
	}
	var reachable []dynmesh.Observer
	for id, m := range p.members {
		if m.Alive && !p.Unreachable(id) {
			reachable = append(reachable, m.Observer)
		}
	}
	slices.SortFunc(reachable, func(a, b dynmesh.Observer) int { return cmp.Compare(a.ID, b.ID) })
	for n := range min(witnessCount, len(reachable)) {
		other := n + p.random.IntN(len(reachable)-n)
		reachable[n], reachable[other] = reachable[other], reachable[n]
		p.health.nonce++
		p.health.pinged = true
		p.out.Pings = append(p.out.Pings, Ping{To: reachable[n], Nonce: p.health.nonce})
	}
}

// startDials begins what may begin.
func (p *Prober) startDials() {
	for n := range p.queues {
		for d := p.queues[n].pop(p.now); d != nil; d = p.queues[n].pop(p.now) {
			p.out.Dials = append(p.out.Dials, d)
			if d.Kind == DialGossip {
				p.step(d.target, watch.Event{Kind: watch.DialStarted})
			}
		}
	}
}
