package fleet

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/verdict"
)

// Endpoint is one endpoint with its instances. Its pointer is the same for as long as it is not
// [Endpoint.Empty].
type Endpoint struct {
	key       dynmesh.Endpoint
	name      string
	instances map[dynmesh.InstanceID]*Instance // shown or not
	counts    Counts
	suspected bool // that this process is cut off from the endpoint
	matched   bool
	expected  *int
	marked    bool // in the changes of a reconciliation
}

// NameOf is an endpoint's name for people and for JSON: always of valid UTF-8, though foreign names
// need not be.
func NameOf(e dynmesh.Endpoint) string { return strings.ToValidUTF8(e.String(), "\uFFFD") }

// Key returns the endpoint's true name.
func (e *Endpoint) Key() dynmesh.Endpoint { return e.key }

// Name returns dyn://…, as [NameOf] does.
func (e *Endpoint) Name() string { return e.name }

// Instances returns all that are known, shown or not, in no order.
func (e *Endpoint) Instances() iter.Seq[*Instance] { return maps.Values(e.instances) }

// Counts says how many instances of the endpoint there are.
func (e *Endpoint) Counts() Counts { return e.counts }

// PartitionSuspected says whether so many instances are unreachable that it may be this process
// that is cut off from them.
func (e *Endpoint) PartitionSuspected() bool { return e.suspected }

// Matched says whether an expectation counts the endpoint's instances.
func (e *Endpoint) Matched() bool { return e.matched }

// Expected returns how many instances are expected; nil if no expectation is of this endpoint
// alone.
func (e *Endpoint) Expected() *int { return e.expected }

// Empty says whether there is nothing to show. What is expected is shown though nobody registers
// it.
func (e *Endpoint) Empty() bool { return len(e.instances) == 0 && e.expected == nil }

// suspect says whether the suspicion of a partition has changed.
func (e *Endpoint) suspect() bool {
	suspected := !e.key.IsDrill() && verdict.PartitionSuspected(e.counts.unreachable, e.counts.Registered+e.counts.Unregistered)
	changed := suspected != e.suspected
	e.suspected = suspected
	return changed
}

// Counts says how many instances an endpoint has: the first five of those that the registry lists,
// which are Registered.
type Counts struct {
	Ready, NotReady, Unreachable, Draining, Verified int

	Registered, Unregistered int

	unreachable int // registered or not
}

// countsOf returns what one instance adds.
func countsOf(s dynmesh.VerdictState, verified, registered bool) Counts {
	var c Counts
	if s == dynmesh.Unreachable {
		c.unreachable = 1
	}
	if !registered {
		c.Unregistered = 1
		return c
	}
	c.Registered = 1
	if verified {
		c.Verified = 1
	}
	switch s {
	case dynmesh.Ready:
		c.Ready = 1
	case dynmesh.NotReady:
		c.NotReady = 1
	case dynmesh.Unreachable:
		c.Unreachable = 1
	case dynmesh.Draining:
		c.Draining = 1
	}
	return c
}

// Add adds o, or with a sign of -1 takes it away.
func (c *Counts) Add(o Counts, sign int) {
	c.Ready += sign * o.Ready
	c.NotReady += sign * o.NotReady
	c.Unreachable += sign * o.Unreachable
	c.Draining += sign * o.Draining
	c.Verified += sign * o.Verified
	c.Registered += sign * o.Registered
	c.Unregistered += sign * o.Unregistered
	c.unreachable += sign * o.unreachable
}

// endpoints are all that are known or expected.
type endpoints struct {
	expectations []expect.Expectation
	byKey        map[dynmesh.Endpoint]*Endpoint
	order        []*Endpoint // by namespace, component and name
}

func newEndpoints(expectations []expect.Expectation) endpoints {
	es := endpoints{expectations: expectations, byKey: map[dynmesh.Endpoint]*Endpoint{}}
	for _, expectation := range expectations {
		of, err := dynmesh.ParseEndpoint(expectation.Endpoint)
		if err != nil {
			continue // of a model, or with a *: which ones there should be is not said
		}
		e := es.get(of)
		if e.expected == nil || *e.expected < expectation.Want {
			e.expected = &expectation.Want
		}
	}
	return es
}

// get returns an endpoint, a new one where there is none.
func (es *endpoints) get(of dynmesh.Endpoint) *Endpoint {
	if e := es.byKey[of]; e != nil {
		return e
	}
	// Cloned because the parts may be slices of a much larger answer, which they would keep alive.
	of.Namespace, of.Component = strings.Clone(of.Namespace), strings.Clone(of.Component)
	of.Name = strings.Clone(of.Name)
	e := &Endpoint{
		key: of, name: NameOf(of),
		instances: map[dynmesh.InstanceID]*Instance{},
	}
	e.matched = slices.ContainsFunc(es.expectations, func(x expect.Expectation) bool { return x.Matches(e.name) })
	es.byKey[e.key] = e
	at, _ := slices.BinarySearchFunc(es.order, of, func(e *Endpoint, of dynmesh.Endpoint) int { return e.key.Compare(of) })
	es.order = slices.Insert(es.order, at, e)
	return e
}

// match has an endpoint count for expectations of the models that an instance of it serves.
func (es *endpoints) match(i *Instance) {
	if i.endpoint.matched || len(i.process.cards) == 0 {
		return
	}
	cards, _ := i.Cards()
	for _, card := range cards {
		m := expect.Model{Name: card.Model, WorkerType: card.WorkerType}
		if slices.ContainsFunc(es.expectations, func(x expect.Expectation) bool { return x.MatchesModel(m) }) {
			i.endpoint.matched = true
		}
	}
}

// find returns an instance; nil if it is not known.
func (es *endpoints) find(of dynmesh.Endpoint, id dynmesh.InstanceID) *Instance {
	if e := es.byKey[of]; e != nil {
		return e.instances[id]
	}
	return nil
}

// collect forgets those of the touched endpoints that are empty.
func (es *endpoints) collect(touched []*Endpoint) {
	if !slices.ContainsFunc(touched, (*Endpoint).Empty) {
		return
	}
	es.order = slices.DeleteFunc(es.order, (*Endpoint).Empty)
	maps.DeleteFunc(es.byKey, func(_ dynmesh.Endpoint, e *Endpoint) bool { return e.Empty() })
}
