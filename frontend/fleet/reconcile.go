package fleet

import (
	"cmp"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/verdict"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// How long a state may last before it means something.
const (
	// Gossip brings a worker's report of an instance in a second or two, if there is one.
	reportDeadline = 10 * time.Second

	// The registry may know an instance a moment sooner than gossip knows its worker.
	foreignAfter = 2 * time.Second

	// Joining may take long, and a worker that gossips need not be watched as a foreign one.
	memberDeadline = 10 * time.Second

	// etcd gives leases a new time when it elects a leader, and removals are held back.
	leaseGrace = 30 * time.Second

	defaultLeaseTTL = 10 * time.Second // of workers that do not say
)

// reconciliation is one step of a fleet in progress.
type reconciliation struct {
	fleet   *Fleet
	now     time.Time
	changes Changes
}

func (r *reconciliation) run() {
	f, c := r.fleet, &r.changes
	for i, due := f.deadlines.pop(r.now); due; i, due = f.deadlines.pop(r.now) {
		f.marks.instance(i)
	}
	c.Instances = make([]Changed, 0, len(f.marks.instances))
	r.conclude()
	for _, e := range c.Endpoints {
		r.suspect(e)
	}
	r.conclude()
	for n := range c.Instances {
		i := &c.Instances[n]
		if i.endpoint.suspected && i.State() == dynmesh.Unreachable {
			i.Reasons = append(slices.Clip(i.Reasons), verdict.PartitionReason) // a transition has the rest
		}
		i.marked &^= toReconcile
		f.collect(i.Instance)
	}
	f.endpoints.collect(c.Endpoints)
	c.Members, c.Targets, c.Measures, c.Status = f.marks.members, f.marks.targets, f.marks.measures, f.marks.status
	f.marks.clear()
	for _, e := range c.Endpoints {
		e.marked = false
	}
}

// conclude concludes for the marked instances that are not among the changes yet.
func (r *reconciliation) conclude() {
	for _, i := range r.fleet.marks.instances[len(r.changes.Instances):] {
		if !i.endpoint.marked {
			i.endpoint.marked = true
			r.changes.Endpoints = append(r.changes.Endpoints, i.endpoint)
		}
		r.changes.Instances = append(r.changes.Instances, Changed{i, r.instance(i)})
	}
}

// suspect looks whether so much of an endpoint is unreachable at once that this process may be
// what is cut off. Its unreachable instances say so.
func (r *reconciliation) suspect(e *Endpoint) {
	if !e.suspect() {
		return
	}
	r.fleet.marks.status = true
	for _, i := range e.instances {
		if i.State() == dynmesh.Unreachable {
			r.fleet.marks.instance(i)
		}
	}
}

// instance finds the verdict on one instance, and returns the reasons.
func (r *reconciliation) instance(i *Instance) []string {
	f, before := r.fleet, i.State()
	i.endpoint.counts.Add(i.counts(), -1)
	if !i.registered {
		i.transport = ""
	}
	if !i.registered && (!i.process.isAlive() || !i.process.current(i.own)) {
		i.state, i.verified, i.changes = hidden, false, nil
		i.missing = nothing
		delete(f.remarks, i)
		r.unwatch(i)
		f.deadlines.set(i, time.Time{})
		if before != "" {
			r.changes.Transitions = append(r.changes.Transitions, Transition{At: r.now, Key: i.Key(), From: before})
		}
		return nil
	}
	evidence, again := r.evidence(i)
	v := verdict.Of(evidence)
	v.Reasons = f.remarks[i].reasons(v.Reasons)
	i.state, i.verified, i.counted = stateOf(v.State), v.Verified, i.registered
	i.endpoint.counts.Add(i.counts(), +1)
	waits := evidence.Unspoken && v.State == dynmesh.NotReady
	waited := i.marked&unspoken != 0
	first := waited && !waits
	i.marked &^= unspoken
	if waits && (waited || v.State != before) { // else it has been told of for another reason
		i.marked |= unspoken
	}
	if v.State != before {
		i.since = r.now
	}
	if v.State != before || first {
		if first {
			before = ""
		}
		if before != "" && !waits { // the registry may have told of it a moment sooner than of its worker
			i.changes = kept(i.changes, change{r.now, v.Reasons[0], stateOf(before), i.state})
		}
		r.changes.Transitions = append(r.changes.Transitions, Transition{
			At: r.now, Key: i.Key(), From: before, To: v.State, Reasons: v.Reasons, Evidence: evidence, Auxiliary: i.Auxiliary(),
		})
	}
	for _, remark := range f.takeUntold(i) {
		r.changes.Transitions = append(r.changes.Transitions, Transition{
			At: r.now, Key: i.Key(), From: v.State, To: v.State, Reasons: v.Reasons, Remark: &remark, Evidence: evidence, Auxiliary: i.Auxiliary(),
		})
	}
	_, calmer := i.flaps(r.now)
	f.deadlines.set(i, timers.Earlier(again, calmer))
	return v.Reasons
}

// evidence gathers what is known of an instance, and says when time alone will have changed it.
func (r *reconciliation) evidence(i *Instance) (e verdict.Evidence, again time.Time) {
	f, p := r.fleet, i.process
	e = verdict.Evidence{
		Registry: f.listedBy(), Registered: i.registered, Read: f.registry.State != dynmesh.Syncing,
		Gossip: f.cfg.Gossip, Score: f.health.Score, Alone: f.processes.peers == 0,
		Worker: verdict.Worker{
			State: p.state(), Process: p.report(p.seen().own, dynmesh.Subject{ID: p.id}),
			Dynmesh: p.listed, Gossips: p.gossips(), Loopback: f.loopback(i),
		},
		Own: p.report(i.own, i.subject()),
	}
	if p.member != nil {
		e.Worker.Since, e.Worker.LeaseTTL = p.member.Since, p.member.LeaseTTL
	}
	if i.State() == dynmesh.Unreachable {
		e.UnreachableSince = i.since
	}
	tombstone, again := r.tombstone(p)
	if tombstone != nil {
		e.Worker.State, e.Worker.Since, e.Worker.LeaseTTL = tombstone.State, tombstone.Since, tombstone.LeaseTTL
	}
	for path := range i.watchers() {
		e.Paths = append(e.Paths, f.processes.path(path))
	}
	var overdue time.Time
	e.Unreported, e.Unspoken, overdue = r.wait(i, e.Own != nil)
	if !e.Unspoken && i.missing == member && i.toSpeak() && i.watch != undialable {
		e.Unspoken = !slices.ContainsFunc(e.Paths, func(p verdict.Path) bool { return p.Finding == dynmesh.Pass && p.Counts() })
	}
	return e, timers.Earlier(again, overdue)
}

// toSpeak says whether the worker is to become a member, and has never been one.
func (i *Instance) toSpeak() bool {
	return i.process.member == nil && !i.process.joined && i.process.gossips()
}

// wait looks for what an instance lacks of its worker: a report, or that it is a member. It says
// whether the report is overdue, whether the worker has the time to speak yet, and when to look
// again.
func (r *reconciliation) wait(i *Instance, reported bool) (unreported, unspoken bool, again time.Time) {
	p := i.process
	if i.registered && p.member == nil && (i.watch != undialable || i.toSpeak() || r.fleet.refused[i] != "") {
		again = r.watch(i)
		if i.toSpeak() {
			if deadline := r.missing(i, member, memberDeadline); r.now.Before(deadline) {
				return false, true, timers.Earlier(again, deadline)
			}
		}
		return false, false, again
	}
	r.unwatch(i)
	if !i.registered || !p.isAlive() || reported {
		i.missing = nothing
		return false, false, again
	}
	deadline := r.missing(i, ownReport, reportDeadline)
	if i.withdrawn || !r.now.Before(deadline) {
		return true, false, again
	}
	// What has served as no member, for as long as such are looked at, does not fail by joining.
	serves := i.State() == dynmesh.Ready && i.own == nil && r.now.Sub(i.since) >= foreignAfter
	return false, !serves, deadline
}

// watch has gossip watch an instance whose worker is no member, unless it may yet become one.
func (r *reconciliation) watch(i *Instance) (again time.Time) {
	patience := foreignAfter
	if i.process.lastMember == nil && i.process.gossips() {
		patience = memberDeadline
	}
	deadline := r.missing(i, member, patience)
	switch {
	case i.watch == watched:
		return again
	case i.watch != rewatched && r.now.Before(deadline):
		return deadline
	case i.watch == undialable && r.fleet.refused[i] == "": // else whose host it is may be known by now
		return again
	}
	at := r.fleet.where(i)
	if i.watch == rewatched || at.Addr != "" {
		r.changes.Watches = append(r.changes.Watches, Watch{i.subject(), at})
	}
	i.watch = watched
	if at.Addr == "" {
		i.watch = undialable // what it lacks it has lacked all the same: it does not get the time twice
	}
	return again
}

// unwatch has gossip watch an instance no longer.
func (r *reconciliation) unwatch(i *Instance) {
	r.fleet.unrefuse(i)
	if i.watch >= watched {
		i.watch = dialable
		r.changes.Watches = append(r.changes.Watches, Watch{Subject: i.subject()})
	}
}

// missing returns when an instance will have lacked something for that long.
func (r *reconciliation) missing(i *Instance, what missing, long time.Duration) time.Time {
	if i.missing != what {
		i.missing, i.missingSince = what, r.now.Sub(r.fleet.began)
	}
	return r.fleet.began.Add(i.missingSince + long)
}

// tombstone returns a worker that gossip has forgotten as it was then, and when that ends:
// gossip's forgetting is no sign of life. A lease that outlasts its time is one, in a registry
// that can be read.
func (r *reconciliation) tombstone(p *Process) (last *dynmesh.Member, until time.Time) {
	registry := r.fleet.registry
	if p.lastMember == nil || registry.State != dynmesh.Synced {
		return p.lastMember, until
	}
	until = p.lastMember.Since
	if registry.Since.After(until) {
		until = registry.Since
	}
	until = until.Add(cmp.Or(p.lastMember.LeaseTTL, defaultLeaseTTL) + leaseGrace)
	if !r.now.Before(until) {
		return nil, time.Time{}
	}
	return p.lastMember, until
}

// deadlines say which instances are to be looked at again when, though nothing comes in: those for
// which time alone is evidence.
type deadlines struct {
	began time.Time
	queue timers.Queue[time.Duration, *Instance] // since began
	timer map[*Instance]*timers.Timer[time.Duration, *Instance]
}

// set has an instance looked at again at that time, and not at another; zero: never.
func (d *deadlines) set(i *Instance, at time.Time) {
	t := d.timer[i]
	switch {
	case at.IsZero() && t != nil:
		d.queue.Stop(t)
		delete(d.timer, i)
	case at.IsZero():
	case t == nil:
		t = &timers.Timer[time.Duration, *Instance]{Value: i}
		d.timer[i] = t
		fallthrough
	default:
		d.queue.Set(t, at.Sub(d.began))
	}
}

// next returns when the first instance is due; false: none is.
func (d *deadlines) next() (time.Time, bool) {
	at, ok := d.queue.Next()
	return d.began.Add(at), ok
}

// pop takes out an instance that is due; false: none is.
func (d *deadlines) pop(now time.Time) (*Instance, bool) {
	i, due := d.queue.Pop(now.Sub(d.began))
	delete(d.timer, i)
	return i, due
}
