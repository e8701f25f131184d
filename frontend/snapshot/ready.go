package snapshot

import (
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/fleet"
)

// Readiness is whether the fleet has what is expected, and the answer that says so. It never
// changes.
type Readiness struct {
	expect.Result
	JSON []byte

	// What it follows from.
	expected []*Endpoint
	state    dynmesh.SyncState
	since    time.Time
}

// readinessRenderer evaluates expectations. A fleet may be large, and most changes are none of what
// is expected: then the last result stands.
type readinessRenderer struct {
	expectations []expect.Expectation
	last         *Readiness
}

// render evaluates the expectations, which count the instances of the endpoints given.
func (r *readinessRenderer) render(expected []*Endpoint, registry fleet.Registry) *Readiness {
	if l := r.last; l != nil && l.state == registry.State && l.since.Equal(registry.Since) && slices.Equal(l.expected, expected) {
		return l
	}
	v := expect.View{Discovery: registry.State, Since: registry.Since}
	for _, e := range expected {
		v.Endpoints = append(v.Endpoints, expectable(e))
	}
	next := &Readiness{Result: expect.Evaluate(r.expectations, v), expected: expected, state: registry.State, since: registry.Since}
	next.JSON = next.AppendJSON(nil)
	r.last = next
	return next
}

// expectable returns what of an endpoint expectations look at.
func expectable(e *Endpoint) expect.Endpoint {
	x := expect.Endpoint{Name: e.Name}
	for id, s := range e.Instances() {
		i := expect.Instance{ID: id, Verdict: s.Verdict(), Verified: s.Verified, Registered: s.Registered}
		for _, card := range s.Cards() {
			i.Models = append(i.Models, expect.Model{Name: card.Model, WorkerType: card.WorkerType})
		}
		x.Instances = append(x.Instances, i)
	}
	return x
}
