package gossip

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// loop owns what the pool knows: one goroutine takes what came in, does what is due, and prepares what goes out. Nothing in it
// waits, but for the kernel to take a packet.
type loop struct {
	pool     *Pool
	log      *logrus.Entry
	table    *table.Table
	members  members
	paths    *paths
	listened bool // the reader wants updates

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
		strangers: make(map[dynmesh.Observer]time.Time),
	}
	l.paths = newPaths(l)
	l.prepare()
	l.health()
	return l
}

// run goes on until ctx ends.
func (l *loop) run(ctx context.Context) {
	now := time.Now()
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
	for _, e := range b.nodes {
		l.node(e, now)
	}
	for name, n := range b.notices {
		l.notice(name, n, now)
	}
	for _, m := range b.pings {
		l.ping(m, now)
	}
	for _, e := range b.paths {
		l.paths.event(e)
	}
	for s, f := range b.own {
		if f == nil {
			l.apply(l.table.Withdraw(s), false, now)
		} else {
			l.observe(*f, now)
		}
	}
	for s, addr := range b.foreign {
		l.paths.foreign(s, addr)
	}
	for _, m := range b.messages {
		l.message(m, now)
	}
	if b.leaving != nil {
		l.paths.stop()
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
	next := earliest(l.chores, l.hints, l.paths.due())
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
	l.paths.follow(c)
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

// straight sends packets to those who are to know at once: all frontends, and whoever may have to watch in the stead of one that
// cannot be reached, which in a small mesh is everybody. In a large one that is left to gossip, whose packets are full of
// memberlist's own news when much fails at once.
func (l *loop) straight(messages [][]byte) {
	n := 0
	for _, role := range []dynmesh.Role{dynmesh.RoleFrontend, dynmesh.RoleWorker} {
		for _, m := range l.members { // in no order: some other ones the next time
			if m.Role != role || !m.alive() || m.Observer == l.pool.self || l.paths.isAccused(m.ID) {
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
		if m.alive() && m.Observer != l.pool.self && !l.paths.isAccused(m.ID) {
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
