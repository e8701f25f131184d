package frontend

import (
	"cmp"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/frontend/verdict"
	"github.com/dynmesh/dynmesh/gossip"
)

// How long a state may last before it means something.
const (
	muteAfter     = 10 * time.Second // gossip brings a worker's word of an instance in a second or two, if there is one
	strangerAfter = 2 * time.Second  // etcd may know an instance a moment sooner than gossip knows its worker
	memberAfter   = 15 * time.Second // joining may take long, and a worker that gossips need not be watched as a stranger
	leaseGrace    = 30 * time.Second // after its time a lease may stand for so long: etcd gives all a new time when it elects a leader, and removals are held back
)

// settle concludes anew for all that may have changed, and says whether a view rendered now would differ from the last.
func (m *mesh) settle(now time.Time) (changed bool) {
	if m == nil {
		return false
	}
	for _, u := range m.inbox {
		m.discovered(u)
	}
	clear(m.inbox)
	m.inbox, m.woken = m.inbox[:0], false
	for i := m.agenda.due(now); i != nil; i = m.agenda.due(now) {
		m.touch(i)
	}
	groups := map[*group]struct{}{}
	for _, i := range m.dirty {
		m.conclude(i, now)
		groups[i.group] = struct{}{}
	}
	m.doubt(groups)
	for _, i := range m.dirty { // which doubt may have made longer
		i.dirty = false
		m.encode(i, now)
		m.drop(i)
	}
	m.dirty = forget(m.dirty)
	if due, any := m.news.due(); any && !now.Before(due) {
		m.news.tell(m.log)
	}
	for g := range groups {
		changed = g.splice(viewChunkSize) || changed
	}
	changed = m.members.splice(viewChunkSize) || changed || m.outdated
	changed = m.settleTargets() || changed
	m.forgetGroups()
	m.outdated = changed // until it is rendered
	return changed
}

// conclude finds the verdict on one instance.
func (m *mesh) conclude(i *instance, now time.Time) {
	was := i.shown
	i.shown = i.registered || i.own != nil && i.worker.there() && i.worker.present(i.own) != nil
	if !i.shown {
		i.group.counts.add(i.counted, -1)
		i.counted, i.history, i.verdict, i.mute = counts{}, nil, dynmesh.Verdict{}, time.Time{}
		m.watch(i, now)
		m.agenda.plan(i, time.Time{})
		return
	}
	before := i.verdict
	e, again := m.evidence(i, now)
	i.verdict = verdict.Of(e)
	i.group.counts.add(i.counted, -1)
	i.counted = countsOf(i.verdict, i.registered)
	i.group.counts.add(i.counted, +1)
	if i.verdict.State != before.State {
		i.since = now
		if was {
			i.history = i.history.with(turn{now, before.State, i.verdict.State, i.verdict.Reasons[0]})
		}
		if was || i.verdict.State != dynmesh.Ready {
			m.news.add(item{i.group.name, i.worker.id, before.State, i.verdict.State, i.verdict.Reasons[0]}, now)
		}
	}
	_, calmer := i.history.flaps(now)
	m.agenda.plan(i, sooner(again, calmer))
}

// evidence gathers what is known of an instance, and says when time alone will have changed it.
func (m *mesh) evidence(i *instance, now time.Time) (e verdict.Evidence, again time.Time) {
	w := i.worker
	e = verdict.Evidence{
		Registered: i.registered, Read: m.state != dynmesh.Syncing,
		Gossip: m.pool != nil, Score: m.health.Score, Alone: m.peers == 0,
		Worker: verdict.Worker{State: w.state(), Process: w.present(w.process)},
		Own:    w.present(i.own),
	}
	if w.info != nil {
		e.Worker.Dynmesh, e.Worker.Gossips = true, w.info.GossipAddr != ""
	}
	if w.member != nil {
		e.Worker.Since, e.Worker.LeaseTTL = w.member.Since, w.member.LeaseTTL
	}
	if i.verdict.State == dynmesh.Unreachable {
		e.UnreachableSince = i.since
	}
	lost, again := m.mourns(w, now)
	if lost {
		e.Worker.State, e.Worker.Since, e.Worker.LeaseTTL = w.mourned.State, w.mourned.Since, w.mourned.LeaseTTL
	}
	for _, f := range i.watchers() {
		e.Paths = append(e.Paths, m.path(f))
	}
	silent := i.registered && w.there() && e.Own == nil
	i.mute = since(i.mute, silent, now)
	e.Unreported = silent && (i.withdrawn || now.Sub(i.mute) >= muteAfter)

	again = sooner(again, m.watch(i, now))
	if silent && !e.Unreported {
		again = sooner(again, i.mute.Add(muteAfter))
	}
	return e, again
}

// mourns says whether a worker that gossip has forgotten is still held for what it was then, and when that ends: gossip's
// forgetting is no sign of life. A lease that outlasts its time is one, in an etcd that can be read.
func (m *mesh) mourns(w *worker, now time.Time) (lost bool, until time.Time) {
	if w.mourned == nil || m.state != dynmesh.Synced {
		return w.mourned != nil, until
	}
	until = w.mourned.Since
	if m.since.After(until) {
		until = m.since
	}
	until = until.Add(cmp.Or(w.mourned.LeaseTTL, discovery.DefaultLeaseTTL) + leaseGrace)
	if !now.Before(until) {
		return false, time.Time{}
	}
	return true, until
}

// path is a finding with who made it.
func (m *mesh) path(f finding) verdict.Path {
	by := m.workers[f.Observer.ID]
	return verdict.Path{
		By: m.nameOf(f.Observer), State: m.stateOf(f.Observer), ObserverUnreachable: by != nil && by.lost, Stale: f.former,
		Finding: f.Report.Finding, Reason: f.Reason, Detail: f.Detail, At: f.At,
	}
}

// watchers returns what others say of an instance, one finding of each: of its worker as a whole, and else of itself. One
// that was found while its worker was no member does not outweigh what is found of the member.
func (i *instance) watchers() findings {
	if len(i.paths) == 0 {
		return i.worker.paths
	}
	first, second := i.worker.paths, i.paths
	if i.worker.member == nil {
		first, second = second, first
	}
	all := append(findings(nil), first...)
	for _, f := range second {
		if all.of(f.Observer.ID) < 0 {
			all = append(all, f)
		}
	}
	return all
}

// watch has the pool watch the instances whose worker is no member, and returns when that is to be decided again.
func (m *mesh) watch(i *instance, now time.Time) (again time.Time) {
	if m.pool == nil {
		return again
	}
	addr := ""
	if i.registered && i.worker.member == nil {
		addr = address(i.transport)
	}
	i.stranger = since(i.stranger, addr != "", now)
	if addr != "" && i.watching == "" {
		patience := strangerAfter
		if i.worker.mourned == nil && i.worker.info != nil && i.worker.info.GossipAddr != "" {
			patience = memberAfter
		}
		if known := i.stranger.Add(patience); now.Before(known) {
			return known
		}
	}
	if addr == i.watching {
		return again
	}
	i.watching = addr
	subject := dynmesh.Subject{ID: i.worker.id, Endpoint: i.group.Endpoint}
	if addr == "" {
		m.pool.UnwatchForeign(subject)
	} else {
		m.pool.WatchForeign(gossip.Foreign{Subject: subject, Addr: addr})
	}
	return again
}

// doubt looks for endpoints of which so much is lost at once that this process may be what is lost.
func (m *mesh) doubt(groups map[*group]struct{}) {
	for g := range groups {
		cutOff := verdict.PartitionSuspected(g.counts.lost, g.counts.registered+g.counts.unregistered)
		if cutOff == g.cutOff {
			continue
		}
		g.cutOff = cutOff
		m.outdated = true
		for _, i := range g.instances {
			if i.shown && i.verdict.State == dynmesh.Unreachable {
				m.touch(i)
			}
		}
	}
}

// since keeps the time since when something holds.
func since(began time.Time, holds bool, now time.Time) time.Time {
	switch {
	case !holds:
		return time.Time{}
	case began.IsZero():
		return now
	}
	return began
}

// sooner returns the earlier of two times, of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
