package output

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/verdict"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// heardWithin is how long a worker that is registered may be silent before it is judged without its
// word.
const heardWithin = 15 * time.Second

// Config is what a policy keeps to.
type Config struct {
	// MinHealthy is the floor of each target; default half. 0% is none: then all may be withdrawn.
	MinHealthy Floor

	// Expect is a floor, too: of the targets that an expectation counts, no servers are withdrawn that
	// would leave fewer than it wants.
	Expect []expect.Expectation

	// WithdrawOn are the kinds of remarks on which one that works is withdrawn, as far as the floor
	// allows it; default none.
	WithdrawOn []string
}

// Remark is how an instance that works differs from its peers.
type Remark struct{ Kind, Text string }

// Instance is what the policy has to know of one instance.
type Instance struct {
	Key        dynmesh.InstanceKey
	Endpoint   string // dyn://…, for people and targets
	Addr       string // host:port; empty: it has none, or it is not known now
	Scheme     string // http, https or tcp
	Pod        Pod
	Verdict    dynmesh.VerdictState
	Verified   bool
	Reason     string // the one that decided the verdict
	Registered bool
	Observed   bool           // its worker, or somebody who watches it, has said something of it
	Unchecked  bool           // its worker has not seen it answer yet, in its present life
	Failing    bool           // its worker's last finding speaks against it
	Remarks    []Remark       // on it
	Models     []expect.Model // that it serves
}

// Status is how much the rest is worth.
type Status struct {
	Registry  dynmesh.SyncState
	Suspicion string // why it may be this process that is slow or cut off; empty: nothing says so
}

// Policy decides who serves. One goroutine may use it.
//
// What comes in ([Policy.Put], [Policy.Delete]) marks the targets that it concerns; [Policy.Decide]
// looks at these, and no others.
type Policy struct {
	cfg       Config
	instances map[dynmesh.InstanceKey]*instance
	targets   map[string]*target
	damped    map[string]*damping // by endpoint and address
	marked    map[*target]bool
	read      time.Time // when the registry had been read; zero: it has not been
	opened    bool
	frozen    string // why nothing changes
	swept     time.Time
	last      *Assignment
}

// instance is an Instance, and what became of it.
type instance struct {
	Instance
	since   time.Time // when it was first seen
	entered bool      // it has worked once, or was there before this process: it may be withdrawn
	targets []*target
}

// target is a target in the making.
type target struct {
	name      string
	model     bool
	instances map[dynmesh.InstanceKey]*instance
	again     time.Time // when time alone changes it; zero: never
	rulings   []ruling  // by address, then by instance
	counted   int       // those that the floor is a part of
	working   int       // those that may serve by themselves
	able      int       // those that could besides: they work, and are out for a remark, or not yet back from that
	cut       bool      // it may be this process that is cut off from it
	ruled     bool      // since it was last put together
	floor     int
	short     string // why all are to stay in; empty: they are not
	enough    bool   // those that work are enough: of the others none is to stay in
	last      *Target
}

// NewPolicy returns a policy that has decided nothing.
func NewPolicy(cfg Config) *Policy {
	cfg.MinHealthy = cmp.Or(cfg.MinHealthy, DefaultFloor())
	return &Policy{
		cfg: cfg, instances: map[dynmesh.InstanceKey]*instance{}, targets: map[string]*target{},
		damped: map[string]*damping{}, marked: map[*target]bool{},
	}
}

// Put takes in an instance that is new or another one.
func (p *Policy) Put(next Instance, now time.Time) {
	i := p.instances[next.Key]
	if i == nil {
		i = &instance{since: now}
		p.instances[next.Key] = i
	} else { // one that drains is registered no longer, and listens and serves still
		if next.Addr == "" {
			next.Addr, next.Scheme = i.Addr, i.Scheme
		}
		if !next.Registered && next.Pod == (Pod{}) {
			next.Pod = i.Pod
		}
		if !next.Registered && len(next.Models) == 0 {
			next.Models = i.Models
		}
	}
	if i.Endpoint != next.Endpoint || !slices.Equal(i.Models, next.Models) {
		p.leave(i)
		i.Instance = next
		p.join(i, next.Endpoint, false)
		for _, model := range next.Models {
			if name := ModelTarget(model.Name); p.targets[name] == nil || p.targets[name].instances[next.Key] == nil {
				p.join(i, name, true)
			}
		}
	}
	i.Instance = next
	for _, t := range i.targets {
		p.marked[t] = true
	}
}

// Delete takes in that there is an instance no longer.
func (p *Policy) Delete(key dynmesh.InstanceKey) {
	if i := p.instances[key]; i != nil {
		p.leave(i)
		delete(p.instances, key)
	}
}

func (p *Policy) join(i *instance, name string, model bool) {
	t := p.targets[name]
	if t == nil {
		t = &target{name: name, model: model, instances: map[dynmesh.InstanceKey]*instance{}}
		p.targets[name] = t
	}
	t.instances[i.Key] = i
	i.targets = append(i.targets, t)
	p.marked[t] = true
}

func (p *Policy) leave(i *instance) {
	for _, t := range i.targets {
		delete(t.instances, i.Key)
		p.marked[t] = true
	}
	i.targets = nil
}

// Decide returns the assignment that follows; nil: it is as it was, or nothing may be said yet.
func (p *Policy) Decide(s Status, now time.Time) *Assignment {
	if p.read.IsZero() && s.Registry == dynmesh.Synced {
		p.read = now
	}
	switch s.Registry {
	case dynmesh.Syncing:
		p.frozen = "the registry has not been read yet"
	case dynmesh.Stale:
		p.frozen = "the registry cannot be read"
	default:
		p.frozen = s.Suspicion
	}
	if p.frozen != "" || !p.opened && !p.open(now) {
		return nil
	}
	for _, t := range p.targets {
		if !t.again.IsZero() && !now.Before(t.again) {
			p.marked[t] = true
		}
	}
	if p.last != nil && len(p.marked) == 0 {
		return nil
	}
	for t := range p.marked {
		p.rule(t, now)
	}
	p.sweep(now)
	return p.assign(now)
}

// open says whether enough is known for a first assignment: each worker that is registered has been
// heard, or has had the time to be.
func (p *Policy) open(now time.Time) bool {
	if now.Before(p.read.Add(heardWithin)) {
		for _, i := range p.instances {
			if i.Registered && !i.Observed {
				return false
			}
		}
	}
	for _, i := range p.instances {
		i.entered = i.Registered && (!i.Unchecked || i.Verdict == dynmesh.Ready)
	}
	p.opened = true
	return true
}

// Next returns when Decide has something to do though nothing comes in; zero: never.
func (p *Policy) Next() (at time.Time) {
	if p.frozen != "" || p.read.IsZero() {
		return at
	}
	if !p.opened {
		return p.read.Add(heardWithin)
	}
	for _, t := range p.targets {
		at = timers.Earlier(at, t.again)
	}
	return at
}

// assign applies floors, and puts together the targets that differ.
func (p *Policy) assign(now time.Time) *Assignment {
	floors := p.floors()
	a := &Assignment{Version: 1}
	if p.last != nil {
		a.Version = p.last.Version + 1
	}
	for _, t := range p.targets {
		if f := floors[t]; t.ruled || t.floor != f.floor || t.short != f.short || t.enough != f.enough {
			t.ruled, t.floor, t.short, t.enough = false, f.floor, f.short, f.enough
			if next := t.finish(now); !next.equal(t.last) {
				t.last = next
			}
		}
		a.Targets = append(a.Targets, t.last)
	}
	slices.SortFunc(a.Targets, func(a, b *Target) int { return strings.Compare(a.Name, b.Name) })
	if p.last != nil && slices.Equal(a.Targets, p.last.Targets) {
		return nil
	}
	p.last = a
	return a
}

// shortage is the floor of a target, and why it is not met; empty: it is. Where those that work are
// enough to meet it, whatever is remarked on them, those that do not work stay out.
type shortage struct {
	floor  int
	short  string
	enough bool
}

// floors holds targets against their floors.
func (p *Policy) floors() map[*target]shortage {
	all := make(map[*target]shortage, len(p.targets))
	for _, t := range p.targets {
		f := shortage{floor: p.cfg.MinHealthy.of(t.counted), enough: !t.cut}
		if t.working < f.floor {
			f.short = fmt.Sprintf("the floor of %s is %d", p.cfg.MinHealthy, f.floor)
			f.enough = t.working+t.able >= f.floor
		}
		if t.cut {
			f.short, f.enough = verdict.PartitionReason, false
		}
		all[t] = f
	}
	for _, x := range p.cfg.Expect {
		working, able := 0, 0
		var of []*target
		for _, t := range p.targets {
			if n, more, counts := t.workingFor(x); counts {
				of = append(of, t)
				working, able = working+n, able+more
			}
		}
		for _, t := range of {
			f := all[t]
			if len(of) == 1 {
				f.floor = max(f.floor, min(x.Want, t.counted))
			}
			if working < x.Want {
				f.short = cmp.Or(f.short, x.String()+" is expected")
				f.enough = f.enough && working+able >= x.Want
			}
			all[t] = f
		}
	}
	return all
}

// workingFor returns how many servers of a target an expectation counts that may serve by
// themselves, how many that could besides, and whether it counts any at all.
func (t *target) workingFor(x expect.Expectation) (working, able int, counts bool) {
	if x.IsModel() != t.model {
		return 0, 0, false
	}
	if !t.model {
		return t.working, t.able, x.Matches(t.name)
	}
	name := strings.TrimPrefix(t.name, modelPrefix)
	for _, r := range t.rulings {
		if slices.ContainsFunc(r.Models, func(m expect.Model) bool { return m.Name == name && x.MatchesModel(m) }) {
			counts = true
			if r.state.Serves() {
				working++
			}
			if r.able {
				able++
			}
		}
	}
	return working, able, counts
}

// partitioned says whether it may be this process that is cut off from the target.
func (t *target) partitioned() bool {
	unreachable := 0
	for _, r := range t.rulings {
		if r.Verdict == dynmesh.Unreachable {
			unreachable++
		}
	}
	return verdict.PartitionSuspected(unreachable, len(t.rulings))
}

// finish makes the target of its rulings.
func (t *target) finish(now time.Time) *Target {
	next := &Target{Name: t.name, Floor: t.floor, Servers: make([]Server, 0, len(t.rulings))}
	var before map[dynmesh.InstanceKey]*Server
	if t.last != nil {
		before = make(map[dynmesh.InstanceKey]*Server, len(t.last.Servers))
		for i := range t.last.Servers {
			before[t.last.Servers[i].Instance] = &t.last.Servers[i]
		}
	}
	held := 0
	for _, r := range t.rulings {
		s := Server{
			Instance: r.Key, Addr: r.Addr, Scheme: r.Scheme, Pod: r.Pod, State: r.state, Verdict: r.Verdict, Reason: r.reason, Since: now,
			New: r.state == Out && !r.counted, Unheard: r.unheard,
		}
		if t.short != "" && r.counted && !s.State.Serves() && (r.able || !t.enough) {
			s.State, s.Held = In, true
			held++
		}
		if was := before[r.Key]; was != nil && was.State == s.State && was.Held == s.Held && was.New == s.New && was.Unheard == s.Unheard {
			s.Since, s.Reason, s.Verdict = was.Since, was.Reason, was.Verdict
		}
		next.Servers = append(next.Servers, s)
	}
	if held > 0 {
		next.Warning = fmt.Sprintf("%s: %d that would be withdrawn stay in: %d of %d work, and %s", t.name, held, t.working, t.counted, t.short)
	}
	return next
}

// equal says whether two targets say the same. o may be nil.
func (t *Target) equal(o *Target) bool {
	return o != nil && t.Floor == o.Floor && t.Warning == o.Warning && slices.Equal(t.Servers, o.Servers)
}

// Frozen says why nothing changes, or nothing is said yet; empty: what is decided is told.
func (p *Policy) Frozen() string {
	if p.frozen == "" && !p.opened {
		return "workers that are registered have not been heard"
	}
	return p.frozen
}

// Warnings says what holds back what is decided: at most 20 targets, and how many more.
func (p *Policy) Warnings() []string {
	const most = 20
	var all []string
	switch {
	case p.frozen != "":
		all = append(all, "outputs change nothing: "+p.frozen)
	case !p.opened:
		all = append(all, "outputs say nothing yet: "+p.Frozen())
	}
	if p.last == nil {
		return all
	}
	held := 0
	for _, t := range p.last.Targets {
		if t.Warning == "" {
			continue
		}
		if held++; held <= most {
			all = append(all, "outputs: "+t.Warning)
		}
	}
	if held > most {
		all = append(all, fmt.Sprintf("outputs: so it is with %d more targets", held-most))
	}
	return all
}
