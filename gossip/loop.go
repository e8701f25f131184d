package gossip

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/probe/dial"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// loop owns what the pool knows: one goroutine takes what came in, does what is due, and prepares what goes out. Nothing in it
// waits, but for the kernel to take a packet.
type loop struct {
	pool     *Pool
	log      *logrus.Entry
	table    *table.Table
	members  members
	prober   *probe.Prober
	dialer   *dial.Dialer
	origin   time.Time    // of the prober's times
	said     []probe.Said // by changes of the table, which the prober has not been told yet
	listened bool         // the reader wants updates

	introduction introduction

	strangers map[dynmesh.Observer]time.Time // observers that are no members, and since when
	urgent    []table.Entry                  // own findings that go straight to others
	again     []repeat
	learnt    int       // entries that comparisons brought, in this turn
	quiet     time.Time // the last change of the table
	asked     time.Time // the last comparison for a hint
	settled   time.Time // the last change of who is alive
	pulled    time.Time // the last push/pull for a difference in that
	changed   bool      // it changed in this turn
	stirred   bool      // a member changed in this turn
	alone     bool
	leaving   bool     // it is this member that goes, and no news that others are no longer there
	died      []string // members, since that was last logged
	joined    []string

	chores, hints, expiry time.Time // when they are due
	spreads               time.Time // zero: not at all
}

// repeat is a packet that goes out again, in case the first one was lost.
type repeat struct {
	at       time.Time
	messages [][]byte
}

const (
	choreInterval  = time.Second
	expiryInterval = 5 * time.Second
	repeatAfter    = 50 * time.Millisecond
	maxDirect      = 32 // members that are told directly; more of them hear it from each other
)

func newLoop(p *Pool) *loop {
	l := &loop{
		pool: p, log: p.cfg.Log, table: table.New(p.self), members: make(members), alone: true,
		strangers: make(map[dynmesh.Observer]time.Time), introduction: newIntroduction(),
	}
	l.origin = time.Now()
	l.prober = probe.New(p.self.ID, p.cfg.Role == dynmesh.RoleFrontend, rand.Uint64())
	l.dialer = dial.New(p.transport, p.inbox.probe)
	l.prepare()
	l.health()
	return l
}

// run goes on until ctx ends.
func (l *loop) run(ctx context.Context) {
	now := time.Now()
	l.introduction.began = now
	l.chores, l.expiry, l.hints = now.Add(choreInterval), now.Add(expiryInterval), now.Add(jittered(hintInterval))
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
		l.turn(l.pool.inbox.take(), now)
		next := l.due(now)
		l.flush(now)
		due := earliest(next, l.hints, l.spreads)
		if len(l.again) > 0 {
			due = earliest(due, l.again[0].at)
		}
		timer.Reset(time.Until(due))
	}
}

// turn takes what has come in. Members come first: what is said is said by them.
func (l *loop) turn(b batch, now time.Time) {
	if b.listens && !l.listened {
		l.tellAll()
	}
	l.leaving = l.leaving || b.leaving != nil
	l.introduction.alone = l.introduction.alone || b.looked
	for _, e := range b.nodes {
		l.node(e, now)
	}
	for name, n := range b.notices {
		l.notice(name, n, now)
	}
	for _, m := range b.pings {
		l.ping(m, now)
	}
	for _, e := range b.probes {
		l.probe(e)
	}
	for s, f := range b.own {
		if f == nil {
			l.apply(l.table.Withdraw(s), false, now)
		} else {
			l.observe(*f, now)
		}
	}
	for s, addr := range b.foreign {
		l.probe(probe.ForeignWatched{Subject: s, Addr: addr})
	}
	for _, m := range b.messages {
		l.message(m, now)
	}
	l.follow()
	if b.leaving != nil {
		l.probe(probe.Stop{})
		l.dialer.Stop()
		l.observe(*b.leaving, now) // where the worker has said so itself nothing changes
	}
}

// due does what time demands, and returns when it wants to be called again.
func (l *loop) due(now time.Time) time.Time {
	if !now.Before(l.expiry) {
		l.expiry = now.Add(expiryInterval)
		l.apply(l.table.Expire(now), false, now)
		l.forgetStrangers(now)
	}
	if !now.Before(l.chores) {
		l.chores = now.Add(choreInterval)
		l.forgetGone(now)
		l.pingSuspects()
		l.report()
		l.stirred = true // memberlist's score tells nobody when it changes
	}
	if !now.Before(l.hints) {
		l.hints = now.Add(jittered(hintInterval))
		l.hint()
	}
	if !l.spreads.IsZero() && !now.Before(l.spreads) {
		l.spreads = time.Time{}
		l.spread()
	}
	next := earliest(l.chores, l.hints, l.tick(), l.introduce(now))
	for len(l.again) > 0 && !now.Before(l.again[0].at) {
		l.straight(l.again[0].messages)
		l.again = l.again[1:]
	}
	return next
}

// flush sends and publishes what the turn has brought.
func (l *loop) flush(now time.Time) {
	if len(l.urgent) > 0 {
		messages := table.Packets(l.urgent)
		l.urgent = nil
		l.straight(messages)
		l.again = append(l.again, repeat{now.Add(repeatAfter), messages})
	}
	if large := l.pool.outbox.takeLarge(); len(large) > 0 {
		for _, m := range l.pick(3) {
			l.pool.bulk.send(m.node, bundles(l.pool.self, large)...)
		}
	}
	if l.changed {
		l.changed, l.quiet = false, now
		l.hintSoon(now)
		l.prepare()
	}
	if l.learnt > muchLearnt && l.spreads.IsZero() {
		l.spreads = now.Add(spreadAfter/2 + rand.N(spreadAfter))
	}
	l.learnt = 0
	if l.stirred {
		l.stirred = false
		l.health()
	}
}

// hintSoon has others compare once what has just changed should have reached them.
func (l *loop) hintSoon(now time.Time) { l.hints = earliest(l.hints, now.Add(jittered(hintSoon))) }

// prepare leaves for memberlist what it sends in a push/pull.
func (l *loop) prepare() {
	b := l.state(false)
	l.pool.outbox.state.Store(&b)
}

// observe takes an own finding.
func (l *loop) observe(f dynmesh.Report, now time.Time) {
	was, _ := l.table.Get(l.pool.self.ID, f.Subject)
	changes, err := l.table.Observe(f)
	if err != nil {
		l.log.WithFields(logrus.Fields{"err": err, "member": f.Subject.ID.String()}).Error("Cannot tell others of a finding")
		return
	}
	failed := f.Finding == dynmesh.Fail || was.Report.Finding == dynmesh.Fail // or it did until now: that is as urgent
	if f.Kind == dynmesh.KindPath && failed || f.Draining {
		l.urgent = append(l.urgent, changes.Entries...)
	}
	l.apply(changes, false, now)
}

// apply does what follows from a change of the table: the reader is told, and others, and who drains may have left.
func (l *loop) apply(c table.Changes, late bool, now time.Time) {
	l.pool.metrics.ignore(c.Ignored)
	if len(c.Entries)+len(c.Withdrawn) == 0 {
		return
	}
	l.changed = true
	l.pool.outbox.mark(late, c.Entries...)
	l.note(c)
	if l.listened {
		l.pool.updates.observations(c.Set, c.Withdrawn)
	}
	for _, o := range c.Set {
		if o.Draining && o.Subject.ID == o.Observer.ID {
			if m := l.members.current(o.Observer); m != nil && m.State == dynmesh.Dead {
				l.become(m, dynmesh.Left, now)
			}
		}
	}
}

// probe tells the prober what happened and does what follows. What others say of a report comes to it with follow.
func (l *loop) probe(e probe.Event) {
	if ended, ok := e.(probe.DialEnded); ok {
		l.pool.metrics.connects.WithLabelValues(ended.Dial.Purpose.String(), ended.Outcome.String()).Inc()
	}
	do := l.prober.Handle(e, time.Since(l.origin))
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
	for _, d := range do.HangUps {
		l.dialer.HangUp(d)
	}
	for _, d := range do.Dials {
		l.dialer.Start(d)
	}
	for _, d := range do.Degraded {
		if m := l.members.current(d.Member); m != nil && m.degraded != d.Degraded {
			m.degraded, l.stirred = d.Degraded, true
		}
	}
}

// note keeps what a change of the table says of members' processes, for follow.
func (l *loop) note(c table.Changes) {
	note := func(k dynmesh.ObservationKey, failed bool) {
		if k.Subject.Endpoint == (dynmesh.Endpoint{}) && k.Observer.ID != k.Subject.ID {
			l.said = append(l.said, probe.Said{Observer: k.Observer.ID, Subject: k.Subject.ID, Failed: failed})
		}
	}
	for _, k := range c.Withdrawn {
		note(k, false)
	}
	for _, o := range c.Set {
		if o.Kind == dynmesh.KindPath {
			note(o.Key(), o.Finding == dynmesh.Fail)
		}
	}
}

// follow tells the prober what has been said. What it reports may change the table, and so on, until nothing is new.
func (l *loop) follow() {
	for len(l.said) > 0 {
		said := l.said
		l.said = nil
		for _, s := range said {
			l.probe(s)
		}
	}
}

// tick has the prober do what is due, and returns when it wants to be called again.
func (l *loop) tick() time.Time {
	for now := time.Since(l.origin); l.prober.Next(now) <= now; {
		l.probe(probe.Tick{})
	}
	l.follow()
	now := time.Since(l.origin)
	return l.origin.Add(min(l.prober.Next(now), now+time.Hour))
}

// straight sends packets to those who are to know at once: all frontends, and whoever may have to watch in the stead of one that
// cannot be reached, which in a small mesh is everybody. In a large one that is left to gossip, whose packets are full of
// memberlist's own news when much fails at once.
func (l *loop) straight(messages [][]byte) {
	n := 0
	for _, role := range []dynmesh.Role{dynmesh.RoleFrontend, dynmesh.RoleWorker} {
		for _, m := range l.members { // in no order: some other ones the next time
			if m.Role != role || !m.alive() || m.Observer == l.pool.self || l.prober.Accused(m.ID) {
				continue
			}
			if n++; n > maxDirect {
				return
			}
			for _, b := range messages {
				l.pool.metrics.direct.Inc()
				l.pool.send(&m.node, b)
			}
		}
	}
}

// pick returns some other members that can be reached, by chance.
func (l *loop) pick(n int) []*member {
	var all []*member
	for _, m := range l.members {
		if m.alive() && m.Observer != l.pool.self && !l.prober.Accused(m.ID) {
			all = append(all, m)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
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
func jittered(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5) }
