package gossip

import (
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
)

// node takes what memberlist says of a member.
func (l *loop) node(e nodeEvent, now time.Time) {
	m, err := memberOf(e.node)
	if err != nil {
		return
	}
	known := l.members[m.ID]
	if known != nil && m.Epoch < known.Epoch {
		return // an earlier life: the address answers for it no longer
	}
	if !e.here {
		if known != nil && known.Observer == m.Observer && known.alive() {
			l.gone(known, now)
		}
		return
	}
	if known != nil && known.Observer != m.Observer {
		l.replaced(known, now)
		known = nil
	}
	m.State, m.Since = dynmesh.Alive, now
	if known != nil && known.alive() { // only what it says of itself has changed
		m.State, m.Since, m.degraded, m.compared = known.State, known.Since, known.degraded, known.compared
		l.pool.contacts.gone(known.Addr, false, now)
	} else {
		l.table.Recall(m.Observer)
		l.settle(now)
		if m.Observer != l.pool.self {
			l.joined = append(l.joined, m.ID.String())
		}
	}
	l.members[m.ID] = m
	l.pool.contacts.joined(m.Addr)
	l.tell(m)
}

// gone is told of a member that memberlist has given up, or that left.
func (l *loop) gone(m *member, now time.Time) {
	state := dynmesh.Dead
	if o, ok := l.table.Get(m.ID, dynmesh.Subject{ID: m.ID}); ok && o.Observer == m.Observer && o.Draining {
		state = dynmesh.Left
	}
	l.pool.contacts.gone(m.Addr, state == dynmesh.Dead, now)
	if state == dynmesh.Dead && m.Observer != l.pool.self {
		l.died = append(l.died, m.ID.String())
	}
	l.become(m, state, now)
}

// replaced ends a life of which a later one has come.
func (l *loop) replaced(m *member, now time.Time) {
	if m.alive() {
		l.pool.contacts.gone(m.Addr, false, now)
	}
	l.forget(m.Observer, now)
}

func (l *loop) become(m *member, s dynmesh.MemberState, now time.Time) {
	if s == dynmesh.Dead || s == dynmesh.Left {
		l.settle(now)
	}
	if s == dynmesh.Left {
		l.pool.outbox.leave(m.node.Name, now)
	}
	m.State, m.Since = s, now
	l.tell(m)
}

// settle takes note that who is alive has changed.
func (l *loop) settle(now time.Time) {
	l.settled = now
	l.hintSoon(now)
}

// tell says to the reader and to the prober what has become of a member.
func (l *loop) tell(m *member) {
	l.stirred = true
	l.probe(probe.MemberChanged{Member: probe.Member{
		Observer: m.Observer, Worker: m.Role == dynmesh.RoleWorker, Frontend: m.Role == dynmesh.RoleFrontend,
		Addr: m.Addr, Service: m.Service, Alive: m.alive(), Left: m.State == dynmesh.Left,
	}})
	if l.listened {
		l.pool.updates.member(m.Member)
	}
}

// notice takes what memberlist's log says of a member.
func (l *loop) notice(name string, n notice, now time.Time) {
	o, err := parseNodeName(name)
	if err != nil {
		return
	}
	m := l.members.current(o)
	if m == nil || !m.alive() {
		return
	}
	switch {
	case n&udpWorks != 0:
		l.setDegraded(m, false)
		l.unsuspect(m, now)
	case n&udpDegraded != 0:
		l.setDegraded(m, true)
		l.unsuspect(m, now)
	}
	if n&suspected != 0 && m.State == dynmesh.Alive {
		l.become(m, dynmesh.Suspect, now)
	}
}

// setDegraded takes memberlist's word where the prober, which looks more often, has none.
func (l *loop) setDegraded(m *member, degraded bool) {
	if m.degraded != degraded && !l.prober.Watches(m.ID) {
		m.degraded, l.stirred = degraded, true
	}
}

func (l *loop) unsuspect(m *member, now time.Time) {
	if m.State == dynmesh.Suspect {
		l.become(m, dynmesh.Alive, now)
	}
}

// ping answers pings, and takes answers. It answers where the ping says, as memberlist does: who asks need not be known yet.
func (l *loop) ping(m message, now time.Time) {
	if m.typ == typePong {
		if from := l.members.current(m.from); from != nil {
			l.unsuspect(from, now)
		}
		l.probe(probe.Ponged{From: m.from, Nonce: m.nonce})
		return
	}
	to, err := nodeAt(m.from, m.addr)
	if err != nil {
		l.pool.metrics.reject("malformed")
		return
	}
	pong := message{typ: typePong, from: l.pool.self, nonce: m.nonce}.encode()
	if m.stream {
		l.pool.quick.send(to, pong)
	} else {
		l.pool.send(&to, pong)
	}
}

// sendPing asks a member whether it is there: the answer comes the same way.
func (l *loop) sendPing(m *member, nonce uint64, stream bool) {
	b := message{typ: typePing, from: l.pool.self, addr: l.pool.Addr(), nonce: nonce, stream: stream}.encode()
	if stream {
		l.pool.quick.send(m.node, b)
	} else {
		l.pool.send(&m.node, b)
	}
}

// pingSuspects ends suspicions: memberlist does not say when one is over, and its next own probe may be minutes away.
func (l *loop) pingSuspects() {
	for _, m := range l.members {
		if m.State == dynmesh.Suspect {
			l.sendPing(m, 0, false)
		}
	}
}

// forgetGone drops members that are gone for long, and what they said.
func (l *loop) forgetGone(now time.Time) {
	for _, m := range l.members {
		keep := keepDead
		if m.State == dynmesh.Left {
			keep = keepLeft
		}
		if !m.alive() && now.Sub(m.Since) >= keep {
			delete(l.members, m.ID)
			l.forget(m.Observer, now)
		}
	}
}

// forgetStrangers drops what was said by those who are no members.
func (l *loop) forgetStrangers(now time.Time) {
	var late []dynmesh.Observer
	seen := make(map[dynmesh.Observer]time.Time, len(l.strangers))
	for o := range l.table.Observers() {
		if o == l.pool.self || l.members.current(o) != nil {
			continue
		}
		since, ok := l.strangers[o]
		if !ok {
			since = now
		}
		if now.Sub(since) >= keepStrangers {
			late = append(late, o)
		} else {
			seen[o] = since
		}
	}
	l.strangers = seen
	for _, o := range late {
		l.forget(o, now)
	}
}

func (l *loop) forget(o dynmesh.Observer, now time.Time) {
	l.changed, l.stirred = true, true
	l.apply(l.table.Forget(o, now.Add(rememberForgotten)), false, now)
	if l.members[o.ID] == nil { // else another incarnation takes its place: the prober is told of that
		l.probe(probe.MemberGone{Observer: o})
	}
	if l.listened {
		l.pool.updates.forget(o)
	}
}

// tellAll gives a reader that has just come all there is.
func (l *loop) tellAll() {
	l.listened, l.stirred = true, true
	for _, m := range l.members {
		l.pool.updates.member(m.Member)
	}
	var all []dynmesh.Observation
	for o := range l.table.All() {
		all = append(all, o)
	}
	l.pool.updates.observations(all, nil)
}

// health publishes what the pool knows of itself.
func (l *loop) health() {
	h, left := l.members.counts()
	h.Score = l.pool.score()
	l.pool.outbox.members.Store(int64(max(1, h.Alive+h.Suspect)))
	if l.listened {
		l.pool.updates.setHealth(h)
	}
	l.pool.metrics.state.Store(&snapshot{health: h, left: left, table: l.table.Stats(), waiting: l.pool.outbox.waiting()})
	if alone := h.Alive+h.Suspect <= 1; alone != l.alone && !l.leaving {
		l.alone = alone
		if alone {
			l.log.Warn("No other member is left: trying to find some")
		} else {
			l.log.WithField("members", h.Alive+h.Suspect).Info("Joined the mesh")
		}
	}
}

// report logs who came and who died, together: a rack that loses its power is one line. Frontends are where people look.
func (l *loop) report() {
	level := logrus.DebugLevel
	if l.pool.cfg.Role == dynmesh.RoleFrontend {
		level = logrus.InfoLevel
	}
	line := func(names *[]string, message string) {
		if n := len(*names); n > 0 {
			l.log.WithFields(logrus.Fields{"member": (*names)[:min(n, 10)], "members": n}).Log(level, message)
			*names = nil
		}
	}
	line(&l.joined, "Members joined")
	line(&l.died, "Members died, or cannot be reached by anybody")
}
