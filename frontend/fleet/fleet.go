package fleet

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/verdict"
	"github.com/dynmesh/dynmesh/internal/address"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// Config is what a fleet has to know of its own process. The zero value takes no part in gossip and
// expects nothing.
type Config struct {
	Gossip bool             // this process takes part; if not, verdicts rest on the registry alone
	Self   dynmesh.Observer // this process, where it takes part
	Expect []expect.Expectation

	// Registries are the names of those whose state [Fleet.Discover] is going to be told; none: etcd.
	Registries []string

	ForeignSystemPort int // of Dynamo's workers whose model cards do not say it; 0: not known

	Host  string         // this process's own, as members tell theirs
	Probe address.Policy // where gossip may connect
}

// Fleet is all that is known of instances, and what follows from it. One goroutine may use it and
// the values that it hands out.
//
// What comes in ([Fleet.Discover], [Fleet.Gossip]) is filed by process, and marks the instances
// that it concerns; [Fleet.Reconcile] concludes for these and no others.
type Fleet struct {
	cfg           Config
	began         time.Time
	registry      Registry
	registries    []dynmesh.RegistryState
	pods          map[*Instance]*dynmesh.Pod // of those that Kubernetes knows: few fleets have any
	withdrawn     map[*Instance]*dynmesh.Withdrawal
	remarks       map[*Instance]*remarks // few instances have any
	unsettled     []string               // what comparing instances with their peers does not settle
	refused       map[*Instance]string   // to whose addresses gossip must not connect: what comes of it, and why
	rejected      *dynmesh.Rejects
	health        dynmesh.GossipHealth
	processes     processes
	endpoints     endpoints
	deadlines     deadlines
	marks         marks
	registrations []Registration
}

// Registry is how much the knowledge of the registry is worth.
type Registry struct {
	State         dynmesh.SyncState
	Since         time.Time // when State began; of Stale, when the registry was last heard
	Revision      int64
	MembersSynced bool // what processes tell of themselves has been read
}

// New returns a fleet that knows nothing yet.
func New(cfg Config, now time.Time) *Fleet {
	f := &Fleet{cfg: cfg, registries: unread(cfg.Registries, now), pods: map[*Instance]*dynmesh.Pod{}, withdrawn: map[*Instance]*dynmesh.Withdrawal{}, remarks: map[*Instance]*remarks{}, refused: map[*Instance]string{}, began: now, registry: Registry{Since: now}, endpoints: newEndpoints(cfg.Expect)}
	f.deadlines = deadlines{began: now, timer: map[*Instance]*timers.Timer[time.Duration, *Instance]{}}
	f.processes = processes{self: cfg.Self, byID: map[dynmesh.InstanceID]*Process{}, keys: map[dynmesh.KeySource]int{}, marks: &f.marks, shut: map[*Process]struct{}{}}
	return f
}

// Changes are what one step of a fleet has changed. Each pointer stands in it once.
type Changes struct {
	Instances   []Changed
	Endpoints   []*Endpoint // whose instances or counts may differ, and all whose suspicion does
	Members     []*Process  // of which gossip says something new; without a Member it is none any longer
	Targets     []*Process  // whose scrape target may differ
	Transitions []Transition
	Watches     []Watch
	Measures    []dynmesh.Observation // of instances' own workers, which are alive: nothing is concluded from them here
	Status      bool                  // what stands around the instances may differ: Registry, Health, Warnings
}

// Changed is an instance whose part of an answer may differ.
type Changed struct {
	*Instance
	Reasons []string // of its verdict; the first one decides
}

// Watch is what the process should have gossip watch over the network: an instance whose worker
// is no member.
type Watch struct {
	Subject dynmesh.Subject
	Foreign dynmesh.Foreign // zero: no longer
}

// Pending says whether Reconcile has something to do.
func (f *Fleet) Pending(now time.Time) bool {
	at, due := f.deadlines.next()
	return f.marks.pending() || due && !at.After(now)
}

// Marked returns how many instances wait for Reconcile.
func (f *Fleet) Marked() int { return len(f.marks.instances) }

// Next returns when Reconcile has something to do though nothing comes in; false: never.
func (f *Fleet) Next() (time.Time, bool) { return f.deadlines.next() }

// Reconcile concludes for all that may have changed. Who wants to know the registrations before it
// has asked for them.
func (f *Fleet) Reconcile(now time.Time) Changes {
	f.Registrations()
	r := reconciliation{fleet: f, now: now}
	r.run()
	return r.changes
}

// Registry returns how much the knowledge of the registry is worth: of all of them, where there are
// several.
func (f *Fleet) Registry() Registry { return f.registry }

// Registries returns the same of each, where that is known. The list is replaced, never changed.
func (f *Fleet) Registries() []dynmesh.RegistryState { return f.registries }

// listedBy is what lists instances.
func (f *Fleet) listedBy() verdict.Registry {
	switch len(f.registries) {
	case 0:
		return verdict.Etcd
	case 1:
		return verdict.Registry(f.registries[0].Name)
	}
	return ""
}

// unread returns the states of registries that nothing is known of yet.
func unread(names []string, now time.Time) (all []dynmesh.RegistryState) {
	for _, name := range names {
		all = append(all, dynmesh.RegistryState{Name: name, Since: now})
	}
	return all
}

// Pod returns what Kubernetes says of a registered instance; nil: it knows nothing of it.
func (f *Fleet) Pod(i *Instance) *dynmesh.Pod { return f.pods[i] }

// Withdrawn returns who has taken a registered instance out of Dynamo's bucket; nil: nobody.
func (f *Fleet) Withdrawn(i *Instance) *dynmesh.Withdrawal { return f.withdrawn[i] }

// Worker returns a process by its ID; nil: nothing is known of it.
func (f *Fleet) Worker(id dynmesh.InstanceID) *Process { return f.processes.byID[id] }

// Remark says how an instance differs from its peers, in one line; empty: it does not, or no
// longer. The next Reconcile looks at it again. One that is not shown cannot be remarked on.
func (f *Fleet) Remark(key dynmesh.InstanceKey, m dynmesh.Measure, text string, now time.Time) {
	i := f.endpoints.find(key.Endpoint, key.ID)
	if i == nil || !i.Shown() {
		return
	}
	r := f.remarks[i]
	if r == nil {
		r = &remarks{}
	}
	at, stands := slices.BinarySearchFunc(r.all, m, func(o Remark, m dynmesh.Measure) int { return int(o.Measure) - int(m) })
	switch {
	case !stands && text == "", stands && r.all[at].Text == text:
		return
	case text == "":
		r.all = slices.Delete(r.all, at, at+1)
		r.untold = append(r.untold, Remark{Measure: m, Since: now})
	case stands:
		r.all[at].Text = text
	default:
		r.all = slices.Insert(r.all, at, Remark{m, text, now})
		r.untold = append(r.untold, r.all[at])
	}
	f.remarks[i] = r
	f.marks.instance(i)
}

// Unsettled has the warnings say what comparing instances with their peers does not settle.
func (f *Fleet) Unsettled(lines []string) {
	if slices.Equal(f.unsettled, lines) {
		return
	}
	f.unsettled, f.marks.status = lines, true
}

// Remarks returns those on an instance, by measure.
func (f *Fleet) Remarks(i *Instance) []Remark {
	if r := f.remarks[i]; r != nil {
		return r.all
	}
	return nil
}

// takeUntold returns what has begun and ended since it was asked last.
func (f *Fleet) takeUntold(i *Instance) []Remark {
	r := f.remarks[i]
	if r == nil {
		return nil
	}
	untold := r.untold
	if r.untold = nil; len(r.all) == 0 {
		delete(f.remarks, i)
	}
	return untold
}

// Health returns what gossip knows of itself.
func (f *Fleet) Health() dynmesh.GossipHealth { return f.health }

// Gossips says whether this process takes part in gossip, and as whom.
func (f *Fleet) Gossips() (self dynmesh.Observer, takesPart bool) { return f.cfg.Self, f.cfg.Gossip }

// Endpoints returns all that have instances or are expected, by namespace, component and name.
func (f *Fleet) Endpoints() []*Endpoint { return f.endpoints.order }

// Observations are what is said of an instance, and whether it counts: by its worker, then by
// others.
func (f *Fleet) Observations(i *Instance) iter.Seq2[dynmesh.Observation, bool] {
	return func(yield func(dynmesh.Observation, bool) bool) {
		p := i.process
		if i.own != nil && !yield(i.own.of(i.subject()), p.isAlive() && p.current(i.own)) {
			return
		}
		whole := dynmesh.Subject{ID: p.id}
		if own := p.seen().own; own != nil && own.draining && !yield(own.of(whole), p.current(own)) {
			return
		}
		for r := range i.watchers() {
			if !yield(r.of(whole), f.processes.path(r).Counts()) {
				return
			}
		}
	}
}

// Observed says whether somebody has said something of an instance: its worker, or who watches it.
// Without gossip, and where nobody can watch it, nobody ever does, and it counts as observed.
func (f *Fleet) Observed(i *Instance) bool {
	if !f.cfg.Gossip || i.process.member == nil && i.watch == undialable && !i.process.gossips() {
		return true
	}
	if i.Own() != "" {
		return true
	}
	for range i.watchers() {
		return true
	}
	return false
}

// Instance returns an instance; nil: nothing is known of it.
func (f *Fleet) Instance(key dynmesh.InstanceKey) *Instance {
	return f.endpoints.find(key.Endpoint, key.ID)
}

// Mark has the next Reconcile look at an instance again, if it is known.
func (f *Fleet) Mark(of dynmesh.InstanceKey) {
	if i := f.endpoints.find(of.Endpoint, of.ID); i != nil {
		f.marks.instance(i)
	}
}

// Suspicion says why it may be this process that is slow or cut off, in words; empty: nothing says
// so. A health score is of when others were probed: where nobody is left, it stays what it was as
// the last one died.
func (f *Fleet) Suspicion() string {
	switch others := f.health.Alive + f.health.Suspect - 1; {
	case f.health.Score >= verdict.Unwell && others > 0:
		return fmt.Sprintf("this frontend is slow or cut off (health score %d)", f.health.Score)
	case f.Alone():
		return "this frontend reaches nobody of those who gossip"
	case f.health.Stopped > 0:
		return fmt.Sprintf("this frontend did not run for %v, a moment ago", f.health.Stopped.Round(time.Second/10))
	}
	return ""
}

// Alone says whether others gossip, by what the registry knows, and none is reached.
func (f *Fleet) Alone() bool {
	return f.cfg.Gossip && f.processes.gossiping > 0 && f.health.Alive+f.health.Suspect <= 1
}

// collect forgets an instance of which nothing is known any more.
func (f *Fleet) collect(i *Instance) {
	if !i.empty() {
		return
	}
	f.unrefuse(i)
	delete(f.remarks, i)
	delete(i.endpoint.instances, i.process.id)
	i.process.instances = slices.DeleteFunc(i.process.instances, func(o *Instance) bool { return o == i })
	f.processes.collect(i.process)
}

// marks are what the next Reconcile has to look at. Each pointer is marked once.
type marks struct {
	instances []*Instance
	targets   []*Process
	members   []*Process
	measures  []dynmesh.Observation
	status    bool // what stands around the instances has changed
}

// instance marks an instance: what is known of it may have changed.
func (m *marks) instance(i *Instance) {
	if i.marked&toReconcile == 0 {
		i.marked |= toReconcile
		m.instances = append(m.instances, i)
	}
}

// process marks all instances of a process.
func (m *marks) process(p *Process) {
	for _, i := range p.instances {
		m.instance(i)
	}
}

// target marks a process: where it can be scraped may have changed.
func (m *marks) target(p *Process) {
	if !p.targetMarked {
		p.targetMarked = true
		m.targets = append(m.targets, p)
	}
}

// member marks a process: gossip says something new of it.
func (m *marks) member(p *Process) {
	if !p.memberMarked {
		p.memberMarked = true
		m.members = append(m.members, p)
	}
}

// pending says whether anything is marked.
func (m *marks) pending() bool {
	return len(m.instances)+len(m.targets)+len(m.members)+len(m.measures) > 0 || m.status
}

// clear forgets all marks. The lists are handed on, but for the first.
func (m *marks) clear() {
	for _, p := range m.targets {
		p.targetMarked = false
	}
	for _, p := range m.members {
		p.memberMarked = false
	}
	const small = 1024
	kept := m.instances[:0]
	clear(m.instances)
	if cap(kept) > small { // a first list may be 100,000 long
		kept = nil
	}
	*m = marks{instances: kept}
}

// Warnings says what an operator should know before believing the rest.
func (f *Fleet) Warnings() []string {
	w := warnings{}
	w.registries(f.registry, f.registries)
	switch {
	case !f.cfg.Gossip:
		w.add("this frontend takes no part in gossip: verdicts rest on %s alone", f.listedBy())
	case f.Alone():
		w.add("gossip is alone: of %d others that gossip, by what %[2]s knows, none is reached; verdicts rest on %[2]s and on what this frontend sees itself", f.processes.gossiping, f.listedBy())
	default:
		w.gossip(f.health)
	}
	w.keys(f.health.NoKey, f.processes.keys)
	w.shut(&f.processes)
	w.partitions(f.endpoints.order)
	w = append(w, f.unsettled...)
	w.refused(f.refused)
	w.rejects(f.rejected)
	return w
}
