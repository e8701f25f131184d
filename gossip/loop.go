package gossip

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/probe/dial"
	"github.com/dynmesh/dynmesh/gossip/swim"
	"github.com/dynmesh/dynmesh/gossip/table"
	"github.com/dynmesh/dynmesh/internal/budget"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// loop owns what the pool knows: one goroutine takes what came in, does what is due, and prepares
// what goes out. Nothing in it waits, but for the kernel to take a packet. Nor does anything in it
// call back: what a change of the table means for the prober waits in heard until the change is
// whole.
type loop struct {
	pool    *Pool
	log     *logrus.Entry
	table   *table.Table
	members members
	prober  *probe.Prober
	dialer  *dial.Dialer
	origin  time.Time // of the prober's times

	hostAddrs []netip.Addr

	deaths  map[string]time.Time           // names of those who were found dead, and when
	doubted map[dynmesh.InstanceID]*member // those who are said to have come back from that

	unknownObservers map[dynmesh.Observer]time.Time // observers that are no members, and since when
	heard            []probe.Event                  // from changes of the table; the prober has not been told yet
	direct           []table.Entry                  // own findings that go to those who are to know at once
	found            bool                           // an own finding is to be passed on, in this iteration
	resends          []resend
	sync             syncState
	introduction     introduction
	hearing          hearing

	strangersGo bool // the table is full: what was said by those who are no members makes room

	// What this iteration has changed, for flush.
	tableDirty, healthDirty bool

	hasReader  bool // somebody wants updates
	alone      bool
	throttle   swim.Throttle // of findings that the table does not take
	forged     forgeries
	unreported int      // foreign instances without a report, as said last
	unproven   bool     // it was said last that canaries do not reach their workers
	refused    bool     // it was said last that others name addresses that are not connected to
	unresolved bool     // it was said last that names cannot be looked up
	leaving    bool     // it is this member that goes, and no news that others are no longer there
	died       []string // members, since that was last logged
	joined     []string

	housekeeping, expiry, nextHeld, nextOwn time.Time // when they are due
}

// resend is what goes out again, in case it was lost the first time.
type resend struct {
	at       time.Time
	messages [][]byte
	to       []dynmesh.Role
}

const (
	housekeepingInterval = time.Second
	spreadInterval       = 200 * time.Millisecond // as memberlist gossips
	spreadWidth          = 3
	spreadSize           = 1000 // bytes of a packet, which has memberlist's overhead, too
	expiryInterval       = 5 * time.Second
	resendAfter          = 50 * time.Millisecond
	maxTicks             = 64 // of the prober in one iteration, lest what comes in waits for all that is due
	maxDirect            = 32 // members that are told directly; more of them hear it from each other
)

func newLoop(p *Pool, keys table.Keys) *loop {
	l := &loop{
		pool: p, log: p.cfg.Log, table: table.New(p.self, keys), members: make(members), alone: true,
		deaths: make(map[string]time.Time), doubted: make(map[dynmesh.InstanceID]*member),
		unknownObservers: make(map[dynmesh.Observer]time.Time), origin: time.Now(), introduction: newIntroduction(),
		prober: probe.New(p.self.ID, p.cfg.Role == dynmesh.RoleFrontend, rand.Uint64()),
		dialer: dial.New(watchedNetwork{p.node, &p.refused}, p.via, p.inbox.probe), hostAddrs: hostAddrs(p.node.Addr().Addr()),
	}
	l.table.Limit(budget.Share(4, math.MaxInt64))
	if p.via != nil {
		l.prober.SendCanaries()
	}
	if p.cfg.ForeignHealth {
		l.prober.AskHealth()
	}
	l.publishState()
	l.publishHealth()
	return l
}

// run goes on until ctx ends.
func (l *loop) run(ctx context.Context) {
	now := time.Now()
	l.hearing.next = now
	l.housekeeping, l.expiry = now.Add(housekeepingInterval), now.Add(expiryInterval)
	l.sync.nextProbe = now.Add(jittered(probeInterval))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.pool.inbox.wake:
		case <-timer.C:
		}
		now := time.Now()
		l.process(l.pool.inbox.take(), now)
		next := l.runDue(now)
		l.flush(now)
		next = earliest(next, l.sync.nextProbe, l.sync.nextAnnouncement, l.spreadHeld(now))
		if len(l.resends) > 0 {
			next = earliest(next, l.resends[0].at)
		}
		timer.Reset(time.Until(next))
	}
}

// process takes what has come in. Members come first: what is said is said by them.
func (l *loop) process(b batch, now time.Time) {
	if b.listens && !l.hasReader {
		l.publishAll()
	}
	l.leaving = l.leaving || b.leaving != nil
	l.introduction.sought = l.introduction.sought || b.sought
	if b.began != nil {
		l.introduction.begin(*b.began)
	}
	for _, e := range b.peers {
		l.peerChanged(e, now)
	}
	for name, s := range b.signals {
		l.signal(name, s, now)
	}
	for id := range b.forged {
		l.impersonated(id, now)
	}
	for _, m := range b.pings {
		l.pinged(m, now)
	}
	for _, e := range b.probes {
		l.probe(e)
	}
	for s, r := range b.own {
		if r == nil {
			l.apply(l.table.Withdraw(s), false, now)
		} else {
			l.hearing.own(s, l.pool.self)
			l.observe(*r, now)
		}
	}
	for s, at := range b.foreign {
		l.probe(probe.ForeignWatched{Subject: s, Foreign: at})
	}
	for _, m := range b.messages {
		l.message(m, now)
	}
	l.tellProber()
	if b.leaving != nil {
		l.probe(probe.Stop{})
		l.dialer.Stop()
		l.observe(*b.leaving, now) // where the worker has said so itself nothing changes
	}
}

// runDue does what time demands, and returns when it wants to be called again.
func (l *loop) runDue(now time.Time) time.Time {
	if !now.Before(l.expiry) {
		l.expiry = now.Add(expiryInterval)
		l.apply(l.table.Expire(now), false, now)
		l.forgetUnknown(keepUnknown, now)
	}
	if !now.Before(l.housekeeping) {
		l.housekeeping = now.Add(housekeepingInterval)
		if l.strangersGo {
			l.strangersGo = false
			l.forgetUnknown(0, now)
		}
		l.forgetGone(now)
		l.pingSuspects(now)
		l.logMembership()
		l.healthDirty = true // memberlist's score tells nobody when it changes
		l.forged.expire(now)
	}
	l.syncDue(now)
	next := earliest(l.housekeeping, l.sync.nextProbe, l.listen(now), l.tick(), l.introduce(now))
	for len(l.resends) > 0 && !now.Before(l.resends[0].at) {
		l.sendDirect(l.resends[0].messages, l.resends[0].to)
		l.resends = l.resends[1:]
	}
	return next
}

// flush sends and publishes what the iteration has brought.
func (l *loop) flush(now time.Time) {
	if len(l.direct) > 0 {
		messages, to := table.Packets(l.direct), []dynmesh.Role{dynmesh.RoleFrontend}
		if slices.ContainsFunc(l.direct, func(e table.Entry) bool { return e.Key().Subject.Endpoint == (dynmesh.Endpoint{}) }) {
			to = append(to, dynmesh.RoleWorker) // of a process: whoever may have to watch goes by it
		}
		l.direct = nil
		l.sendDirect(messages, to)
		l.resends = append(l.resends, resend{now.Add(resendAfter), messages, to})
	}
	if oversized := l.pool.exchange.oversized(); len(oversized) > 0 {
		for _, m := range l.pick(3) {
			l.pool.syncs.Send(m.peer, compounds(l.pool.self, oversized)...)
		}
	}
	if l.tableDirty {
		l.tableDirty, l.sync.tableChanged = false, now
		l.digestProbeSoon(now)
		l.publishState()
	}
	l.announceSoon(now)
	if l.found {
		l.found = false
		l.gossipOwn(now)
	}
	if l.healthDirty {
		l.healthDirty = false
		l.publishHealth()
	}
}

// publishState leaves for memberlist what it sends in a push/pull.
func (l *loop) publishState() {
	b := l.state(false)
	l.pool.exchange.state.Store(&b)
}

// observe takes an own finding.
func (l *loop) observe(r dynmesh.Report, now time.Time) {
	was, _ := l.table.Get(l.pool.self.ID, r.Subject)
	changes, err := l.table.Observe(r)
	if err != nil {
		if times := l.throttle.Allow(cmp.Or(errors.Unwrap(err), err).Error(), now); times > 0 {
			l.log.WithFields(logrus.Fields{"err": err, "member": r.Subject.ID.String(), "times": times}).
				Error("Cannot tell others of a finding")
		}
		return
	}
	l.found = l.found || len(changes.Entries) > 0
	if r.Draining || isUrgent(r, was.Finding) {
		l.direct = append(l.direct, changes.Entries...)
	}
	l.apply(changes, false, now)
}

// isUrgent says whether a finding does not wait for gossip: what fails, and what works again. A
// path that fails on is told each time, since whoever watches in its stead goes by it.
func isUrgent(r dynmesh.Report, was dynmesh.Finding) bool {
	bad := func(f dynmesh.Finding) bool { return f == dynmesh.Fail || f == dynmesh.Stalled }
	return (bad(r.Finding) || bad(was)) && (r.Kind == dynmesh.KindPath || r.Finding != was)
}

// apply does what follows from a change of the table: the reader is told, and others, and who
// drains may have left. low says that a comparison has brought it, so that others may know it.
func (l *loop) apply(c table.Changes, low bool, now time.Time) {
	l.pool.metrics.ignore(c.Ignored)
	if c.Ignored.Full() {
		l.strangersGo = true
	}
	for _, id := range c.Forged {
		l.impersonated(id, now)
	}
	if len(c.Entries)+len(c.Withdrawn) == 0 {
		return
	}
	l.tableDirty, l.hearing.changed = true, true
	l.pool.exchange.broadcast(low, c.Entries...)
	l.owe(c.Entries)
	l.hear(c)
	if l.hasReader {
		l.pool.updates.observations(c.Set, c.Withdrawn)
	}
	for _, o := range c.Set {
		if o.Draining && o.Subject.ID == o.Observer.ID {
			if m := l.members.current(o.Observer); m != nil && m.State == dynmesh.Dead {
				l.setState(m, dynmesh.Left, now)
			}
		}
	}
}

// hear keeps what a change of the table says of members' processes, for tellProber.
func (l *loop) hear(c table.Changes) {
	add := func(k dynmesh.ObservationKey, failed bool) {
		if k.Subject.Endpoint == (dynmesh.Endpoint{}) && k.Observer.ID != k.Subject.ID {
			l.heard = append(l.heard, probe.Reported{Observer: k.Observer.ID, Subject: k.Subject.ID, Failed: failed})
		}
	}
	for _, k := range c.Withdrawn {
		add(k, false)
	}
	for _, o := range c.Set {
		switch {
		case o.Kind == dynmesh.KindPath:
			add(o.Key(), o.Finding == dynmesh.Fail)
		case o.Kind == dynmesh.KindProcess && o.Observer != l.pool.self:
			l.heard = append(l.heard, probe.Spoke{Observer: o.Observer})
		}
	}
}

// tellProber tells the prober what it has to hear. What it reports may change the table, and so on,
// until nothing is new: it reports nothing of a watch that it has just begun, so that is soon.
func (l *loop) tellProber() {
	for len(l.heard) > 0 {
		heard := l.heard
		l.heard, l.hearing.changed = nil, true // it may move watchers
		for _, said := range heard {
			l.probe(said)
		}
	}
}

// probe tells the prober what happened, and does what it wants.
func (l *loop) probe(e probe.Event) {
	l.probeAt(e, time.Since(l.origin)) // read anew: an iteration may take long
}

func (l *loop) probeAt(e probe.Event, at time.Duration) {
	if ended, ok := e.(probe.DialEnded); ok && ended.Dial.Kind == probe.SendCanary {
		l.pool.metrics.canaries.WithLabelValues(ended.Canary.Outcome.String()).Inc()
		l.healthDirty = true // Unproven may be another
	} else if ok {
		l.pool.metrics.connects.WithLabelValues(ended.Dial.Kind.String(), ended.Outcome.String()).Inc()
	}
	do := l.prober.Handle(e, at)
	now := time.Now()
	for _, r := range do.Reports {
		if r.Finding == "" {
			l.apply(l.table.Withdraw(r.Subject), false, now)
			continue
		}
		r.At = now
		l.observe(r, now)
	}
	for _, p := range do.Pings {
		if m := l.members.current(p.To); m != nil {
			l.sendPing(m, p.Nonce, p.Stream)
		}
	}
	for _, d := range do.Dials {
		l.dialer.Start(d)
	}
	for _, d := range do.HangUps { // one that has just begun, too
		l.dialer.HangUp(d)
	}
	for _, d := range do.Degraded {
		if m := l.members.current(d.Member); m != nil && m.degraded != d.Degraded {
			m.degraded, l.healthDirty = d.Degraded, true
		}
	}
}

// tick has the prober do what is due, and returns when it wants to be called again: at once, if
// more is due than maxTicks do. A tick and the question whether it is due have one time.
func (l *loop) tick() time.Time {
	for range maxTicks {
		now := time.Since(l.origin)
		if l.prober.Next(now) > now {
			break
		}
		l.probeAt(probe.Tick{}, now)
	}
	l.tellProber()
	now := time.Since(l.origin)
	return l.origin.Add(min(l.prober.Next(now), now+time.Hour))
}

// spreadHeld sends what memberlist has no room for, as memberlist gossips, and returns when to do
// so again; zero: nothing waits.
func (l *loop) spreadHeld(now time.Time) time.Time {
	if l.pool.exchange.waiting() == 0 {
		return time.Time{}
	}
	if now.Before(l.nextHeld) {
		return l.nextHeld
	}
	l.nextHeld = now.Add(spreadInterval)
	if l.pool.exchange.crowdedOut(now) {
		l.gossip()
	}
	return l.nextHeld
}

// gossipOwn sends what this member has just found at once, where memberlist's gossip would begin
// after half an interval, with the first of the packets that it would have sent. What is found
// within an interval after it waits for memberlist: a burst goes in full packets.
func (l *loop) gossipOwn(now time.Time) {
	if !now.Before(l.nextOwn) {
		l.nextOwn = now.Add(spreadInterval)
		l.gossip()
	}
}

// gossip sends some members a packet each of what waits, as memberlist gossips.
func (l *loop) gossip() {
	for _, m := range l.pick(spreadWidth) {
		for _, b := range l.pool.exchange.packet() {
			l.pool.node.Send(m.peer, b)
		}
	}
}

// introduce makes this member known to those who are to watch it, and returns when to go on; zero:
// not before something happens.
func (l *loop) introduce(now time.Time) (next time.Time) {
	if l.introduction.over || l.introduction.began.IsZero() {
		return time.Time{}
	}
	s := situation{
		membersChanged: l.sync.membersChanged, watchers: l.prober.Watchers(l.pool.self.ID),
		tripwires: l.pool.node.Conns().Tripwires, joining: l.pool.joiner.busy(),
	}
	for _, m := range l.members {
		if m.alive() && m.Observer != l.pool.self {
			s.others++
		}
	}
	tell, next := l.introduction.step(s, now)
	for _, id := range tell {
		if m := l.members[id]; m != nil {
			l.pool.joiner.attempt(m.Addr)
		}
	}
	return next
}

// sendDirect sends packets to those who are to know at once: all frontends, and of a process
// whoever may have to watch in the stead of one that cannot be reached, which in a small mesh is
// everybody. In a large one that is left to gossip, whose packets are full of memberlist's own news
// when much fails at once.
func (l *loop) sendDirect(messages [][]byte, to []dynmesh.Role) {
	n := 0
	for _, role := range to {
		for _, m := range l.members { // in no order: some other ones the next time
			if m.Role != role || !l.reachable(m) {
				continue
			}
			if n++; n > maxDirect {
				return
			}
			for _, b := range messages {
				l.pool.metrics.direct.Inc()
				l.pool.node.Send(m.peer, b)
			}
		}
	}
}

// pick returns some other members that can be reached, by chance.
func (l *loop) pick(n int) []*member {
	var all []*member
	for _, m := range l.members {
		if l.reachable(m) {
			all = append(all, m)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// reachable says whether to send something to a member.
func (l *loop) reachable(m *member) bool {
	return m.alive() && m.Observer != l.pool.self && !l.prober.Unreachable(m.ID)
}

func earliest(first time.Time, others ...time.Time) time.Time {
	for _, t := range others {
		if !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

// jittered is d ±10 %: what began together shall not stay together.
func jittered(d time.Duration) time.Duration { return timers.Jitter(d, 0.1) }
