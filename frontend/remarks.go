package frontend

import (
	"cmp"
	"net"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/pairs"
	"github.com/dynmesh/dynmesh/frontend/answers"
	"github.com/dynmesh/dynmesh/frontend/failures"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/pace"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// A comparer finds out which instances differ from their peers in what they measure. It is pure;
// the loop owns it.
type comparer interface {
	// Take takes in a sample of an instance, which is compared with those of the same group.
	Take(key dynmesh.InstanceKey, group string, o dynmesh.Observation, now time.Time)

	// Drop forgets an instance: it serves no longer.
	Drop(key dynmesh.InstanceKey)

	// Conclude returns what is new: how instances differ, in one line each; empty: no longer.
	Conclude(now time.Time) map[dynmesh.InstanceKey]string

	// Next returns when Conclude may have something new though nothing was taken in; zero: never.
	Next() time.Time
}

// A splitter knows groups that differ so that nobody knows who is the one to remark on.
type splitter interface {
	// Splits returns a line each, of few.
	Splits() []string
}

// comparers are all of them, by what they compare.
func comparers(f *fleet.Fleet) map[dynmesh.Measure]comparer {
	return map[dynmesh.Measure]comparer{
		dynmesh.MeasureAnswers:  answers.NewTable(),
		dynmesh.MeasureFailures: failures.NewTable(surroundings{f}),
		dynmesh.MeasurePace:     pace.NewTable(),
	}
}

// maxCompared is how many instances are compared at most: what is kept of one are some kilobytes,
// 50 of one that lies. Those that are compared already go on.
const maxCompared = 32 << 10

// takeEvery is how often a sample of an instance is taken in on one measure. Those that mean well
// say something each 5 s at most, but for an end that follows a beginning: it is taken in so much
// later. To take in what a liar says may cost some thousand times as much as what is usual.
const takeEvery = time.Second

// remarks has instances compared with their peers. The loop owns it.
type remarks struct {
	by      map[dynmesh.Measure]comparer
	known   map[dynmesh.InstanceKey]struct{}        // to comparers
	taken   map[dynmesh.Subject]time.Time           // when each was taken in last
	waiting map[dynmesh.Subject]dynmesh.Observation // the last that was said since, of those that said more
}

func newRemarks(f *fleet.Fleet) remarks {
	return remarks{
		by: comparers(f), known: map[dynmesh.InstanceKey]struct{}{},
		taken: map[dynmesh.Subject]time.Time{}, waiting: map[dynmesh.Subject]dynmesh.Observation{},
	}
}

// take takes in what has changed. Instances of which there is something to remark, or no longer,
// are rendered anew with the next changes.
func (r *remarks) take(f *fleet.Fleet, changes fleet.Changes, now time.Time) {
	for _, i := range changes.Instances {
		if _, known := r.known[i.Key()]; known && !serves(i.Instance) {
			delete(r.known, i.Key())
			for m, c := range r.by {
				c.Drop(i.Key())
				f.Remark(i.Key(), m, "", now)
				of := dynmesh.Subject{ID: i.ID(), Endpoint: i.Key().Endpoint, Measure: m}
				delete(r.taken, of)
				delete(r.waiting, of)
			}
		}
	}
	for _, o := range changes.Measures {
		if now.Before(r.taken[o.Subject].Add(takeEvery)) {
			r.waiting[o.Subject] = o
			continue
		}
		delete(r.waiting, o.Subject)
		r.takeOne(f, o, now)
	}
	for of, o := range r.waiting {
		if !now.Before(r.taken[of].Add(takeEvery)) {
			delete(r.waiting, of)
			r.takeOne(f, o, now)
		}
	}
	var unsettled []string
	for m, c := range r.by {
		for key, text := range c.Conclude(now) {
			f.Remark(key, m, text, now)
		}
		if c, ok := c.(splitter); ok {
			unsettled = append(unsettled, c.Splits()...)
		}
	}
	f.Unsettled(unsettled)
}

// takeOne has what an instance said compared, where it is to be.
func (r *remarks) takeOne(f *fleet.Fleet, o dynmesh.Observation, now time.Time) {
	key := dynmesh.InstanceKey{Endpoint: o.Subject.Endpoint, ID: o.Subject.ID}
	c, i := r.by[o.Subject.Measure], f.Instance(key)
	if c == nil || i == nil || !serves(i) || key.Endpoint.IsDrill() && o.Subject.Measure != dynmesh.MeasureAnswers {
		return // of phantoms, answers are compared, which a drill tries; they are no peers of anybody else's
	}
	if _, known := r.known[key]; !known && len(r.known) >= maxCompared {
		return
	}
	r.known[key] = struct{}{}
	r.taken[o.Subject] = now
	c.Take(key, groupOf(f, i), o, now)
}

// serves says whether an instance is to be compared: one that does not work is remarked on by its
// verdict.
func serves(i *fleet.Instance) bool {
	return i.State() == dynmesh.Ready || i.State() == dynmesh.Draining
}

// surroundings is the fleet as failures has to know it.
type surroundings struct{ fleet *fleet.Fleet }

// Find knows an instance by its ID, and where that is not said by the host that it is at, if nobody
// else is there who might be meant: of the same namespace as who names it, of another endpoint, and
// of a model.
func (s surroundings) Find(p pairs.Peer, by dynmesh.InstanceKey) (key dynmesh.InstanceKey, ok bool) {
	var found *fleet.Instance
	consider := func(i *fleet.Instance) {
		switch {
		case !i.Shown() || i.Auxiliary() || i.Endpoint().Key() == by.Endpoint || i.Endpoint().Key().Namespace != by.Endpoint.Namespace:
		case found == nil:
			found, ok = i, true
		case found.ID() != i.ID():
			ok = false
		case i.Key().Compare(found.Key()) < 0:
			found = i
		}
	}
	host := p.Host()
	if p.Instance != 0 {
		if w := s.fleet.Worker(p.Instance); w != nil {
			for i := range w.Instances() {
				consider(i)
			}
		}
	} else if host != "" {
		for _, e := range s.fleet.Endpoints() {
			for i := range e.Instances() {
				if !strings.Contains(i.Transport(), host) {
					continue // there are many
				}
				addr, _ := fleet.Address(i.Transport())
				if at, _, _ := net.SplitHostPort(addr); at == host {
					consider(i)
				}
			}
		}
	}
	if !ok {
		return dynmesh.InstanceKey{}, false
	}
	return found.Key(), true
}

// State is an instance's verdict.
func (s surroundings) State(of dynmesh.InstanceKey) dynmesh.VerdictState {
	if i := s.fleet.Instance(of); i != nil {
		return i.State()
	}
	return ""
}

// Ready is how many instances of an endpoint are ready.
func (s surroundings) Ready(of dynmesh.InstanceKey) int {
	if i := s.fleet.Instance(of); i != nil {
		return i.Endpoint().Counts().Ready
	}
	return 0
}

// groupOf names those with which an instance can be compared: they serve the same model in the same
// role, on the same hardware.
func groupOf(f *fleet.Fleet, i *fleet.Instance) string {
	parts := []string{i.Endpoint().Name()}
	if cards, _ := i.Cards(); len(cards) > 0 {
		parts = append(parts, cards[0].Model, cards[0].WorkerType)
	}
	labels := labelsOf(f, i.Process(), i)
	parts = append(parts, cmp.Or(labelNamed(labels, "gpu"), labelNamed(labels, "nvidia.com/gpu.product")))
	return strings.Join(parts, "\x00")
}

// next returns when there is something to do though nothing comes in; zero: never.
func (r *remarks) next() (at time.Time) {
	for _, c := range r.by {
		at = timers.Earlier(at, c.Next())
	}
	for of := range r.waiting {
		at = timers.Earlier(at, r.taken[of].Add(takeEvery))
	}
	return at
}

// due says whether there is something to do.
func (r *remarks) due(now time.Time) bool {
	at := r.next()
	return !at.IsZero() && !now.Before(at)
}
