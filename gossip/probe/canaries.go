package probe

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// When canaries are sent to workers that are no members, through a frontend of Dynamo's.
//
// A worker that freezes right after a canary is found after CanaryPeriod and CanaryTimeout, 9.5 s.
// So many workers are asked in a second, at most, that each waits longer where there are more than
// 375.
const (
	CanaryPeriod     = 7500 * time.Millisecond // from one canary to a worker to the next, at least
	CanaryTimeout    = 2 * time.Second         // for a whole answer
	MaxCanaryTimeout = 30 * time.Second        // for the first answer of all, and for what is known to be slow
	canaryPace       = 20 * time.Millisecond
	holdPause        = time.Second // until it is looked again whether a worker that gets none now may get one
	maxUnreached     = 16          // periods, after which one that was not reached is asked again
	unreachedTold    = 2           // canaries in a row that did not reach their worker, before it is said
	findingAge       = 8           // periods for which a finding stands that no canary could confirm or refute
)

// Canary is one request that is pinned to a worker by headers of Dynamo's.
type Canary struct {
	Model   string
	Request string             // completions, chat or embeddings
	Worker  dynmesh.InstanceID // that answers; 0: it is not pinned, since there is no other
	Prefill dynmesh.InstanceID // that prefills for it; 0: nobody
	Rank    int                // of whom it is about; -1: none is named

	AboutPrefill bool // it is about the worker that prefills

	// Insist has it sent though requests are in flight: that of a former canary may be what hangs.
	Insist  bool
	Timeout time.Duration // for the whole answer
}

// CanaryResult is what became of a canary.
type CanaryResult struct {
	Outcome CanaryOutcome
	Reason  dynmesh.Reason // of CanaryFailed
	Detail  string         // of CanaryFailed and CanaryUnreached, one line of at most dynmesh.MaxDetail bytes
	Took    time.Duration  // of CanaryPassed
}

// CanaryOutcome is how a canary ended, in a word.
type CanaryOutcome uint8

// The outcomes.
const (
	CanaryVoid      CanaryOutcome = iota // nothing can be said: this process was starved, or it ends
	CanaryPassed                         // the worker answered well
	CanaryFailed                         // it was the worker's to answer, and it did not
	CanaryUnreached                      // it was never the worker's: Detail says who refused it
	CanaryHeld                           // it was not sent, since requests are in flight
)

// String returns the outcome as a metric's label.
func (o CanaryOutcome) String() string {
	return [...]string{
		CanaryVoid: "void", CanaryPassed: "passed", CanaryFailed: "failed", CanaryUnreached: "unreached", CanaryHeld: "held",
	}[o]
}

// canaries are those to one worker that is no member: to each of its instances that serves a model,
// and to each data-parallel rank, one after the other. One frontend sends them, the one that asks
// its system port. It is pure; foreign gives it what it has to know of the fleet.
//
// A pair, of one that prefills and one that decodes, that does not answer says of neither alone
// that it does not work. So a failure with one partner counts once it is so with another one too,
// or there is no other.
type canaries struct {
	id      dynmesh.InstanceID
	targets []*canaryTarget
	ended   bool

	at        time.Duration // when the next one may be sent
	sent      time.Duration // when the last one was
	asking    *canaryTarget // whose canary is under way; nil: none is
	proven    bool          // one has passed
	slowest   time.Duration // of the answers of late
	timeouts  uint8         // canaries in a row that had no whole answer in time
	unreached uint8         // canaries in a row that did not reach it
	obstacle  string        // why

	deadline timers.Timer[time.Duration, *canaries]
}

// canaryTarget is one of what canaries to a worker are about.
type canaryTarget struct {
	subject dynmesh.Subject
	rank    int // -1: none is named

	sent    time.Duration // when the last canary was, and
	reached time.Duration // when the last one was that reached it; before the first: -1
	partner dynmesh.InstanceID
	failed  dynmesh.InstanceID // the partner with which the last one failed; 0: it did not

	finding watch.Finding
	took    time.Duration
}

func newCanaries(id dynmesh.InstanceID, at time.Duration) *canaries {
	c := &canaries{id: id, at: at}
	c.deadline.Value = c
	return c
}

// serve sets what the worker serves. What was found of what it goes on to serve stands.
func (c *canaries) serve(instances []foreignInstance) {
	before := c.targets
	c.targets = nil
	for _, at := range instances {
		if at.Serves.Request == "" && !at.Serves.Prefill {
			continue
		}
		first, ranks := at.Serves.FirstRank, max(at.Serves.Ranks, 1)
		if ranks == 1 && first == 0 {
			first = -1
		}
		for rank := first; rank < first+ranks; rank++ {
			n := slices.IndexFunc(before, func(t *canaryTarget) bool { return t.subject == at.subject && t.rank == rank })
			if n >= 0 {
				c.targets = append(c.targets, before[n])
			} else {
				c.targets = append(c.targets, &canaryTarget{subject: at.subject, rank: rank, sent: -1, reached: -1})
			}
		}
	}
}

// next returns what the next canary is to be about: what failed before what passed, and of those
// what has waited longest.
func (c *canaries) next() *canaryTarget {
	return slices.MinFunc(c.targets, func(a, b *canaryTarget) int {
		return cmp.Or(-cmp.Compare(failing(a), failing(b)), cmp.Compare(a.sent, b.sent))
	})
}

func failing(t *canaryTarget) int {
	if t.finding.Finding == dynmesh.Fail {
		return 1
	}
	return 0
}

// timeout is how long an answer may take: five times as long as the slowest of late, and more for
// one that was late, so that who is slow is told from who is stuck.
func (c *canaries) timeout() time.Duration {
	if !c.proven {
		return MaxCanaryTimeout
	}
	return min(max(CanaryTimeout, 5*c.slowest)<<min(c.timeouts, 4), MaxCanaryTimeout)
}

// begin takes note that a canary is sent.
func (c *canaries) begin(t *canaryTarget, partner dynmesh.InstanceID, period, now time.Duration) {
	c.asking, c.sent, c.at = t, now, now+period
	t.sent, t.partner = now, partner
}

// end takes in what became of a canary, and reports whether something else is to be said of the
// worker. others says that there are other partners than the one that it was sent with.
func (c *canaries) end(r CanaryResult, others bool, period time.Duration) (changed bool) {
	t := c.asking
	c.asking = nil
	if !slices.Contains(c.targets, t) {
		return false
	}
	if r.Outcome == CanaryUnreached {
		c.unreached, c.obstacle = min(c.unreached+1, 8), r.Detail
		c.at = c.sent + period*time.Duration(min(1<<(c.unreached-1), maxUnreached))
		return false
	}
	if r.Outcome != CanaryPassed && r.Outcome != CanaryFailed {
		return false
	}
	before := t.finding
	t.reached, c.unreached, c.obstacle = c.sent, 0, ""
	if r.Outcome == CanaryPassed {
		c.proven, c.timeouts = true, 0
		c.slowest = max(r.Took, c.slowest-c.slowest/8)
		t.failed, t.took, t.finding = 0, r.Took, watch.Finding{Finding: dynmesh.Pass}
		return t.finding != before
	}
	if r.Reason == dynmesh.ReasonTimeout || r.Reason == dynmesh.ReasonFrozen {
		c.timeouts = min(c.timeouts+1, 8)
	}
	if first := t.failed == 0 || t.failed == t.partner; t.partner != 0 && others && first && before.Finding != dynmesh.Fail {
		t.failed = t.partner
		return false
	}
	t.failed = t.partner
	t.finding = watch.Finding{Finding: dynmesh.Fail, Reason: r.Reason, Detail: r.Detail}
	if t.partner != 0 {
		t.finding.Detail = fmt.Sprintf("together with %s: %s", t.partner, r.Detail)
	}
	if t.rank >= 0 {
		t.finding.Detail = fmt.Sprintf("data-parallel rank %d: %s", t.rank, t.finding.Detail)
	}
	// With which partner it is found again, and how long it waited, is no news.
	if before.Finding == dynmesh.Fail && before.Reason == r.Reason {
		t.finding = before
	}
	return t.finding != before
}

// expire drops findings that no canary has confirmed or refuted for long, and reports whether there
// were any. What passes is asked in turn, and so stands for two turns at least.
func (c *canaries) expire(period, now time.Duration) (changed bool) {
	for _, t := range c.targets {
		stands := findingAge * period
		if t.finding.Finding == dynmesh.Pass {
			stands = max(stands, 2*time.Duration(len(c.targets))*period)
		}
		if t.finding != (watch.Finding{}) && now-t.reached > stands {
			t.finding, t.failed, changed = watch.Finding{}, 0, true
		}
	}
	return changed
}

// suspend takes note that requests are in flight: they take the canaries' place.
func (c *canaries) suspend(now time.Duration) {
	for _, t := range c.targets {
		if t.finding.Finding == dynmesh.Pass {
			t.reached = now
		}
	}
}

// finding is what canaries say of an instance: that it fails, where one of its ranks does, and that
// it passes, once all of them have.
func (c *canaries) finding(s dynmesh.Subject) (f watch.Finding, took time.Duration) {
	f.Finding = dynmesh.Pass
	any := false
	for _, t := range c.targets {
		switch {
		case t.subject != s:
			continue
		case t.finding.Finding == dynmesh.Fail:
			return t.finding, 0
		case t.finding.Finding != dynmesh.Pass:
			f.Finding = ""
		}
		any, took = true, max(took, t.took)
	}
	if !any || f.Finding == "" {
		return watch.Finding{}, 0
	}
	return f, took
}

// canaryPeriod is the time from one canary to a worker to the next.
func (f *foreign) canaryPeriod() time.Duration {
	return max(CanaryPeriod, time.Duration(len(f.canaries))*canaryPace)
}

// serve takes note of what an instance serves.
func (f *foreign) serve(s dynmesh.Subject, what dynmesh.Served) {
	if what.Model == "" {
		return
	}
	if f.models[what.Model] == nil {
		f.models[what.Model] = make(map[dynmesh.Subject]dynmesh.Served)
	}
	f.models[what.Model][s] = what
}

// unserve takes back what serve has taken note of.
func (f *foreign) unserve(s dynmesh.Subject, what dynmesh.Served) {
	delete(f.models[what.Model], s)
	if len(f.models[what.Model]) == 0 {
		delete(f.models, what.Model)
	}
}

// asks says whether an instance may get a canary: it is reported of, can be reached, and neither
// drains nor is frozen.
func (f *foreign) asks(s dynmesh.Subject) bool {
	if sys := f.systems[s.ID]; sys != nil && !sys.other && (sys.state.Frozen() || sys.status.Draining) {
		return false
	}
	for _, at := range f.instances[s.ID] {
		if t := f.targets[at.Addr]; at.subject == s && t != nil && t.subjects.has(s) {
			return t.address.Finding().Finding == dynmesh.Pass
		}
	}
	return false
}

// served returns what an instance serves.
func (f *foreign) served(s dynmesh.Subject) dynmesh.Served {
	for _, at := range f.instances[s.ID] {
		if at.subject == s {
			return at.Serves
		}
	}
	return dynmesh.Served{}
}

// partners returns those that an instance has to be asked together with one of, by ID: one that
// prefills with one that needs that, and the other way round. Those that are known to be out of
// reach are left out.
func (f *foreign) partners(s dynmesh.Subject) (all []dynmesh.InstanceID) {
	own := f.served(s)
	if !own.Prefill && !own.Needs {
		return nil
	}
	for other, what := range f.models[own.Model] {
		fits := own.Needs && what.Prefill || own.Prefill && what.Needs && what.Request != ""
		if fits && other.Endpoint.Namespace == s.Endpoint.Namespace && !f.fails(other) {
			all = append(all, other.ID)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// fails says whether this frontend has found that an instance cannot be reached.
func (f *foreign) fails(s dynmesh.Subject) bool {
	for _, at := range f.instances[s.ID] {
		if t := f.targets[at.Addr]; at.subject == s && t != nil && t.fails() {
			return true
		}
	}
	return false
}

// canaryFor returns the canary about a target; not ok: there is none that would say something.
// Embeddings cannot be pinned, and their answers do not name the worker: so they are asked of a
// worker that is the only one of its model.
func (f *foreign) canaryFor(c *canaries, t *canaryTarget) (canary Canary, partner dynmesh.InstanceID, ok bool) {
	own := f.served(t.subject)
	canary = Canary{
		Model: own.Model, Request: own.Request, Worker: t.subject.ID, Rank: t.rank,
		Insist: t.finding.Finding == dynmesh.Fail || c.timeouts > 0, Timeout: c.timeout(),
	}
	switch {
	case own.Prefill || own.Needs:
		all := f.partners(t.subject)
		if len(all) == 0 {
			return canary, 0, false
		}
		partner = all[0]
		if n := slices.IndexFunc(all, func(id dynmesh.InstanceID) bool { return id > t.partner }); n >= 0 {
			partner = all[n]
		}
		canary.Prefill = partner
		if own.Prefill {
			canary.Worker, canary.Prefill, canary.AboutPrefill = partner, t.subject.ID, true
			canary.Request = f.requestOf(partner, own.Model)
		}
	case own.Request == "embeddings":
		if len(f.models[own.Model]) > 1 {
			return canary, 0, false
		}
		canary.Worker, canary.Rank = 0, -1
	}
	return canary, partner, true
}

// requestOf is the kind of request that a worker answers for a model.
func (f *foreign) requestOf(id dynmesh.InstanceID, model string) string {
	for _, at := range f.instances[id] {
		if at.Serves.Model == model && at.Serves.Needs {
			return at.Serves.Request
		}
	}
	return ""
}
