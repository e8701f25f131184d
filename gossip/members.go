package gossip

import (
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/swim"
	"github.com/dynmesh/dynmesh/internal/address"
	"github.com/dynmesh/dynmesh/internal/text"
)

// How long members that are gone are kept. Dead ones may only be cut off; those that left said so.
const (
	keepDead = time.Minute
	keepLeft = 10 * time.Second

	// rememberForgotten is how long what forgotten members said is ignored, and who died must answer
	// before it is held for alive again. Those who have not forgotten them yet do so within a minute,
	// and after a partition within another one: the rest is for those who have recorded it.
	rememberForgotten = time.Hour
	maxDeaths         = maxMembers

	// doubtFor is how long who has come back is doubted without an answer. One that is dead memberlist
	// gives up in less; one whose port is cut off refutes that by connections of its own.
	doubtFor = time.Minute

	// maxDoubtsWaiting is how much may wait to go over TCP when a ping to who is doubted joins it:
	// where ports are cut off each takes ten seconds, and other members' pings are behind it.
	maxDoubtsWaiting = 8

	// keepUnknown is how long observations are kept whose observer has not become a member.
	keepUnknown = time.Minute
)

// member is what the loop knows of one.
type member struct {
	dynmesh.Member
	peer     swim.Peer
	key      []byte
	nonce    uint64    // of the pings that are to end its suspicion, or a doubt; 0: none has been sent
	degraded bool      // answers over TCP and not over UDP
	compared time.Time // when its State was last answered
}

// alive says whether memberlist holds it for one, suspicion included.
func (m *member) alive() bool { return m.State == dynmesh.Alive || m.State == dynmesh.Suspect }

// members are the latest incarnations of all that are known.
type members map[dynmesh.InstanceID]*member

// current returns the member if that incarnation of it is the one that is known.
func (ms members) current(o dynmesh.Observer) *member {
	if m := ms[o.ID]; m != nil && m.Observer == o {
		return m
	}
	return nil
}

// counts returns how many there are in which state.
func (ms members) counts() (h dynmesh.GossipHealth, left int) {
	for _, m := range ms {
		switch m.State {
		case dynmesh.Alive:
			h.Alive++
		case dynmesh.Suspect:
			h.Suspect++
		case dynmesh.Dead:
			h.Dead++
		case dynmesh.Left:
			left++
		}
		if m.degraded && m.alive() {
			h.UDPDegraded++
		}
	}
	return h, left
}

// sum is the same for members that hold the same ones for alive.
func (ms members) sum() uint64 {
	var sum uint64
	for _, m := range ms {
		if m.alive() {
			sum ^= xxhash.Sum64String(m.peer.Name)
		}
	}
	return sum
}

// memberOf reads what memberlist knows of a peer. [exchange.Admit] has let in only what can be
// read.
func memberOf(p swim.Peer) (*member, error) {
	o, err := parseName(p.Name)
	if err != nil {
		return nil, err
	}
	m, key, err := decodeMeta(p.Meta)
	if err != nil {
		return nil, err
	}
	m.Observer, m.Addr = o, p.Addr.String()
	return &member{Member: m, peer: p, key: key}, nil
}

// peerChanged takes what memberlist says of a member.
func (l *loop) peerChanged(e peerEvent, now time.Time) {
	m, err := memberOf(e.peer)
	if err != nil {
		return
	}
	known := l.members[m.ID]
	d := l.doubted[m.ID]
	if known != nil && m.Epoch < known.Epoch || d != nil && m.Epoch < d.Epoch {
		return // an earlier incarnation: the address answers for it no longer
	}
	if d != nil && (!e.alive && d.Observer == m.Observer || m.Epoch > d.Epoch) {
		delete(l.doubted, m.ID)
	}
	if _, died := l.deaths[e.peer.Name]; died && e.alive {
		m.Since = now
		l.doubt(m)
		return
	}
	if !e.alive {
		if known != nil && known.Observer == m.Observer && known.alive() {
			l.memberLost(known, now)
		}
		return
	}
	if known != nil && known.Observer != m.Observer {
		l.memberReplaced(known, now)
		known = nil
	}
	m.State, m.Since = dynmesh.Alive, now
	if known != nil && known.alive() { // only what it says of itself has changed
		m.State, m.Since, m.degraded, m.compared = known.State, known.Since, known.degraded, known.compared
		l.pool.addresses.lost(known.Addr, false, now)
	} else {
		l.table.Recall(m.Observer)
		l.membershipChanged(now)
		if m.Observer != l.pool.self {
			l.joined = append(l.joined, m.ID.String())
		}
	}
	l.members[m.ID] = m
	l.pool.addresses.joined(m.Addr)
	l.memberChanged(m)
}

// doubt asks a member whether it has come back that was found dead. It may have been cut off; and
// what it said before it died can be said again by whoever has recorded it, once memberlist has
// forgotten it. So it is as dead as before until it answers, or goes on to be there.
func (l *loop) doubt(m *member) {
	if before := l.doubted[m.ID]; before != nil { // of the same incarnation
		m.nonce, m.Since = before.nonce, before.Since // who is slow answers an earlier one
	}
	for m.nonce == 0 {
		m.nonce = rand.Uint64()
	}
	l.doubted[m.ID] = m
	l.sendPing(m, m.nonce, false)
}

// believe ends a doubt.
func (l *loop) believe(m *member, now time.Time) {
	delete(l.deaths, m.peer.Name)
	delete(l.doubted, m.ID)
	l.peerChanged(peerEvent{m.peer, true}, now)
}

// memberLost is called for a member that memberlist has given up, or that left.
func (l *loop) memberLost(m *member, now time.Time) {
	state := dynmesh.Dead
	o, ok := l.table.Get(m.ID, dynmesh.Subject{ID: m.ID})
	if ok && o.Observer == m.Observer && o.Draining {
		state = dynmesh.Left
	}
	l.pool.addresses.lost(m.Addr, state == dynmesh.Dead, now)
	if state == dynmesh.Dead && m.Observer != l.pool.self {
		l.died = append(l.died, m.ID.String())
	}
	l.setState(m, state, now)
}

// memberReplaced ends an incarnation of which a later one has come.
func (l *loop) memberReplaced(m *member, now time.Time) {
	if m.alive() {
		l.pool.addresses.lost(m.Addr, false, now)
	}
	l.forget(m.Observer, now)
}

func (l *loop) setState(m *member, s dynmesh.MemberState, now time.Time) {
	if s == dynmesh.Dead || s == dynmesh.Left {
		l.membershipChanged(now)
	}
	switch s {
	case dynmesh.Left:
		l.pool.exchange.remember(m.peer.Name, now)
	case dynmesh.Dead:
		for name := range l.deaths {
			if len(l.deaths) < maxDeaths {
				break
			}
			delete(l.deaths, name)
		}
		l.deaths[m.peer.Name] = now
	}
	m.State, m.Since, m.nonce = s, now, 0
	l.memberChanged(m)
}

// membershipChanged takes note that who is alive has changed.
func (l *loop) membershipChanged(now time.Time) {
	l.sync.membersChanged, l.sync.members = now, nil
	l.digestProbeSoon(now)
}

// service is where a member's requests are, for the prober. That of another host at its own
// loopback is no address: this host's own would answer there, or refuse.
func (l *loop) service(m *member) string {
	host, _, err := net.SplitHostPort(m.Service)
	if err != nil || !address.IsLoopback(host) {
		return m.Service
	}
	if at := m.peer.Addr.Addr(); !at.IsLoopback() && !slices.Contains(l.hostAddrs, at) {
		return ""
	}
	return m.Service
}

// hostAddrs are the addresses of this host, and what it is known by to others.
func hostAddrs(known netip.Addr) []netip.Addr {
	all := []netip.Addr{known}
	found, err := net.InterfaceAddrs()
	if err != nil {
		return all
	}
	for _, a := range found {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				all = append(all, ip.Unmap())
			}
		}
	}
	return all
}

// memberChanged tells the reader and the prober what has become of a member.
func (l *loop) memberChanged(m *member) {
	l.healthDirty, l.hearing.changed = true, true
	l.probe(probe.MemberChanged{Member: probe.Member{
		Observer: m.Observer, Frontend: m.Role == dynmesh.RoleFrontend,
		Addr: m.Addr, Service: l.service(m), Alive: m.alive(), Left: m.State == dynmesh.Left,
	}})
	if l.hasReader {
		l.pool.updates.member(m.Member)
	}
}

// signal takes what memberlist has noticed of a member.
func (l *loop) signal(name string, s swim.Signal, now time.Time) {
	o, err := parseName(name)
	if err != nil {
		return
	}
	m := l.members.current(o)
	if m == nil || !m.alive() {
		return
	}
	switch {
	case s&swim.UDPWorks != 0:
		l.setDegraded(m, false)
		l.unsuspect(m, now)
	case s&swim.UDPDegraded != 0:
		l.setDegraded(m, true)
		l.unsuspect(m, now)
	}
	if s&swim.Suspected != 0 && m.State == dynmesh.Alive {
		l.setState(m, dynmesh.Suspect, now)
	}
}

// setDegraded takes memberlist's word where the prober, which looks more often, has none.
func (l *loop) setDegraded(m *member, degraded bool) {
	if m.degraded != degraded && !l.prober.Watches(m.ID) {
		m.degraded, l.healthDirty = degraded, true
	}
}

func (l *loop) unsuspect(m *member, now time.Time) {
	if m.State == dynmesh.Suspect {
		l.setState(m, dynmesh.Alive, now)
	}
}

// pinged answers pings, and takes answers. A ping is answered where it says, as memberlist does:
// who asks need not be known yet.
func (l *loop) pinged(m message, now time.Time) {
	if m.typ == typePong {
		if from := l.members.current(m.from); from != nil && from.nonce != 0 && from.nonce == m.nonce {
			l.unsuspect(from, now)
		}
		if back := l.doubted[m.from.ID]; back != nil && back.Observer == m.from && back.nonce == m.nonce {
			l.believe(back, now)
		}
		l.probe(probe.Ponged{From: m.from, Nonce: m.nonce})
		return
	}
	l.hearing.pingedBy(m.from.ID, now)
	to, err := peerAt(m.from, m.addr)
	if err != nil {
		l.pool.metrics.Reject("malformed")
		return
	}
	pong := message{typ: typePong, from: l.pool.self, nonce: m.nonce}.encode()
	if m.stream {
		l.pool.pings.Send(to, pong)
	} else {
		l.pool.node.Send(to, pong)
	}
}

// answerPings answers what has come meanwhile. A member that learns all that a large mesh has to
// say checks signatures for seconds, and is no less alive for that.
func (l *loop) answerPings() {
	for _, m := range l.pool.inbox.takePings() {
		l.pinged(m, time.Now())
	}
}

// sendPing asks a member whether it is there: the answer comes the same way.
func (l *loop) sendPing(m *member, nonce uint64, stream bool) {
	b := message{typ: typePing, from: l.pool.self, addr: l.pool.Addr(), nonce: nonce, stream: stream}.encode()
	if stream {
		l.pool.pings.Send(m.peer, b)
	} else {
		l.pool.node.Send(m.peer, b)
	}
}

// pingSuspects ends suspicions, and doubts: memberlist does not say when one is over, and its next
// own probe may be minutes away.
func (l *loop) pingSuspects(now time.Time) {
	for _, m := range l.members {
		if m.State == dynmesh.Suspect {
			for m.nonce == 0 { // the same until it is over: who is slow answers an earlier one
				m.nonce = rand.Uint64()
			}
			l.sendPing(m, m.nonce, false)
		}
	}
	for _, m := range l.doubted {
		if now.Sub(m.Since) >= doubtFor {
			l.believe(m, now)
			continue
		}
		l.sendPing(m, m.nonce, false)
		if l.pool.pings.Waiting() < maxDoubtsWaiting {
			l.sendPing(m, m.nonce, true)
		}
	}
}

// forgetGone drops members that are gone for long, and what they said.
func (l *loop) forgetGone(now time.Time) {
	maps.DeleteFunc(l.deaths, func(_ string, at time.Time) bool { return now.Sub(at) >= rememberForgotten })
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

// forgetUnknown drops what was said by those who have been no members for so long.
func (l *loop) forgetUnknown(long time.Duration, now time.Time) {
	var expired []dynmesh.Observer
	seen := make(map[dynmesh.Observer]time.Time, len(l.unknownObservers))
	for o := range l.table.Observers() {
		if o == l.pool.self || l.members.current(o) != nil {
			continue
		}
		since, ok := l.unknownObservers[o]
		if !ok {
			since = now
		}
		if now.Sub(since) >= long {
			expired = append(expired, o)
		} else {
			seen[o] = since
		}
	}
	l.unknownObservers = seen
	for _, o := range expired {
		l.forget(o, now)
	}
}

func (l *loop) forget(o dynmesh.Observer, now time.Time) {
	l.tableDirty, l.healthDirty, l.hearing.changed = true, true, true
	l.apply(l.table.Forget(o, now.Add(rememberForgotten)), false, now)
	if l.members[o.ID] == nil { // else another incarnation takes its place: the prober is told of that
		l.probe(probe.MemberGone{Observer: o})
	}
	if l.hasReader {
		l.pool.updates.forget(o)
	}
}

// publishAll gives a reader that has just come all there is.
func (l *loop) publishAll() {
	l.hasReader, l.healthDirty = true, true
	for _, m := range l.members {
		l.pool.updates.member(m.Member)
	}
	var all []dynmesh.Observation
	for o := range l.table.All() {
		all = append(all, o)
	}
	l.pool.updates.observations(all, nil)
}

// publishHealth publishes what the pool knows of itself.
func (l *loop) publishHealth() {
	h, left := l.members.counts()
	h.Score, h.Unreported = l.pool.node.Score(), l.prober.Unreported()
	h.Unproven, h.Obstacle = l.prober.Unproven()
	h.Forged, h.Impersonated = l.forged.total, l.forged.last
	h.Shut, h.Stopped = l.hearing.shut, l.hearing.stopped
	h.Refused, h.Refusal = l.pool.refused.Now(time.Now())
	h.Unresolved, h.Unresolvable = l.dialer.Unresolved(time.Now())
	h.NoKey = l.pool.cfg.Keyring.Lacks()
	l.logUnreported(h.Unreported)
	l.logUnproven(h)
	l.logRefused(h)
	l.logUnresolved(h)
	l.pool.exchange.members.Store(int64(max(1, h.Alive+h.Suspect)))
	if l.hasReader {
		l.pool.updates.setHealth(h)
	}
	l.pool.metrics.state.Store(&snapshot{
		health: h, left: left, table: l.table.Stats(), waiting: l.pool.exchange.waiting(),
	})
	if alone := h.Alive+h.Suspect <= 1; alone != l.alone && !l.leaving {
		l.alone = alone
		if alone {
			l.log.Warn("No other member is left: trying to find some")
		} else {
			l.log.WithField("members", h.Alive+h.Suspect).Info("Joined the mesh")
		}
	}
}

// logUnreported says once that there are more foreign instances than room to report of them, until
// there is room again.
func (l *loop) logUnreported(unreported int) {
	if was := l.unreported > 0; was != (unreported > 0) {
		entry := l.log.WithFields(logrus.Fields{"instances": unreported, "reported": probe.MaxForeign})
		if was {
			entry.Info("There is room again to report of all foreign instances")
		} else {
			entry.Warn("There are more foreign instances than one frontend can report of, or at too many ports of one host: " +
				"nothing but their leases vouches for the others. More frontends share them")
		}
	}
	l.unreported = unreported
}

// logUnproven says once that canaries do not reach their workers, until they do again.
func (l *loop) logUnproven(h dynmesh.GossipHealth) {
	if l.unproven == (h.Unproven > 0) {
		return
	}
	if l.unproven = !l.unproven; !l.unproven {
		l.log.WithField("addr", text.URL(l.pool.cfg.ProbeVia)).Info("Canaries reach all workers again")
		return
	}
	l.log.WithFields(logrus.Fields{"addr": text.URL(l.pool.cfg.ProbeVia), "workers": h.Unproven, "err": h.Obstacle}).
		Warn("Canaries do not get through Dynamo's frontend to their workers, of which that says nothing")
}

// logRefused says once that others name addresses to which this member does not connect, until they
// do no longer.
func (l *loop) logRefused(h dynmesh.GossipHealth) {
	if l.refused == (h.Refused > 0) {
		return
	}
	if l.refused = !l.refused; l.refused {
		l.log.WithFields(logrus.Fields{"addresses": h.Refused, "err": h.Refusal}).
			Warn("Others name addresses to which this process does not connect")
	}
}

// logUnresolved says once that names cannot be looked up, until all can again.
func (l *loop) logUnresolved(h dynmesh.GossipHealth) {
	if l.unresolved == (h.Unresolved > 0) {
		return
	}
	if l.unresolved = !l.unresolved; !l.unresolved {
		l.log.Info("All workers' names can be looked up again")
		return
	}
	l.log.WithFields(logrus.Fields{"addresses": h.Unresolved, "err": h.Unresolvable}).
		Warn("Workers' names cannot be looked up, and are taken for the addresses that they stood for before")
}

// logMembership logs who came and who died, together: a rack that loses its power is one line.
// Frontends are where people look.
func (l *loop) logMembership() {
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

// rememberForgery is how long a forgery is shown to those who look.
const rememberForgery = 10 * time.Minute

// forgeries are messages that were not signed by the members in whose names they came. They have no
// effect but this.
type forgeries struct {
	total int // since the last time that there were none for rememberForgery
	last  dynmesh.InstanceID
	at    time.Time
	own   bool // it has been said that it is this member whose name somebody uses
}

// expire forgets forgeries that are long past.
func (f *forgeries) expire(now time.Time) {
	if f.total > 0 && now.Sub(f.at) >= rememberForgery {
		*f = forgeries{}
	}
}

// impersonated takes note that something was said in a member's name that it has not signed. The
// first of many is logged, and the first in this member's own name.
func (l *loop) impersonated(id dynmesh.InstanceID, now time.Time) {
	f := &l.forged
	f.total++
	f.at, f.last, l.healthDirty = now, id, true
	switch own := id == l.pool.self.ID; {
	case own && !f.own:
		f.own = true
		l.log.Warn("Somebody speaks in this member's name: nobody believes it, since it is not signed")
	case f.total == 1:
		l.log.WithFields(logrus.Fields{"member": id.String()}).
			Warn("Somebody speaks in another member's name: it is not believed, since it is not signed")
	}
}
