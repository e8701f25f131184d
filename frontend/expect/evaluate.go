package expect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
)

// Evaluate holds expectations against what there is. The same view gives the same result, whatever order it is in.
//
// An instance counts when it is registered and ready, and verified where that is asked for. Before the registry has been
// read, nothing is ready. While etcd cannot be read, what was known last counts.
func Evaluate(expectations []Expectation, view View) Result {
	r := Result{Discovery: view.Discovery.String(), Expectations: []Outcome{}, Reasons: []string{}}
	if view.Discovery == dynmesh.Syncing {
		r.Reasons = append(r.Reasons, "the registry in etcd has not been read yet")
	}
	for _, e := range expectations {
		t := tally{Expectation: e}
		for _, endpoint := range view.Endpoints {
			if e.Matches(endpoint.Name) {
				t.count(endpoint)
			}
		}
		r.Expectations = append(r.Expectations, t.outcome())
		if view.Discovery != dynmesh.Syncing && t.counted.n < e.Want { // else it is known already why it does not hold
			r.Reasons = append(r.Reasons, t.reason())
		}
	}
	r.Ready = len(r.Reasons) == 0
	if !r.Ready && view.Discovery == dynmesh.Stale {
		r.Reasons = append(r.Reasons, "etcd cannot be read since "+view.Since.UTC().Format(time.RFC3339)+": what is registered is what was known then")
	}
	return r
}

// tally counts the instances of one expectation.
type tally struct {
	Expectation
	registered int
	unlisted   int // not registered, and known all the same
	counted    some
	others     []some // those that do not count, by what is said of them
}

// What is said of instances: the verdicts, and words for others that do not count.
const (
	ready        = string(dynmesh.Ready)
	unreachable  = string(dynmesh.Unreachable)
	notReady     = string(dynmesh.NotReady)
	draining     = string(dynmesh.Draining)
	unverified   = "ready but not verified"
	unregistered = "not registered"
	otherwise    = "in a state not known here"
)

func (t *tally) count(e Endpoint) {
	for _, i := range e.Instances {
		if i.Registered {
			t.registered++
		} else {
			t.unlisted++
		}
		r := ref{id: i.ID}
		if t.Several() {
			r.endpoint = e.Name
		}
		if why := t.why(i); why == ready {
			t.counted.add(r)
		} else {
			t.other(why).add(r)
		}
	}
}

// why is what is said of an instance: ready of those that count, and one of few words of the others,
// whatever comes. One that drains has deregistered because it does.
func (t *tally) why(i Instance) string {
	said := string(i.Verdict)
	switch {
	case !i.Registered && said != draining:
		return unregistered
	case said == ready && t.Verified && !i.Verified:
		return unverified
	case said == ready, said == unreachable, said == notReady, said == draining:
		return said
	}
	return otherwise
}

// other returns those of whom this is said. There are few kinds, so looking through them is the fastest way.
func (t *tally) other(why string) *some {
	for i := range t.others {
		if t.others[i].why == why {
			return &t.others[i]
		}
	}
	t.others = append(t.others, some{why: why})
	return &t.others[len(t.others)-1]
}

func (t *tally) outcome() Outcome {
	return Outcome{Endpoint: t.Endpoint, Have: t.counted.n, OK: t.counted.n >= t.Want, Registered: t.registered, Verified: t.Verified, Want: t.Want}
}

// reason says in one line what is missing, and which instances.
func (t *tally) reason() string {
	what := "ready"
	if t.Verified {
		what = "verified"
	}
	var parts []string
	for _, o := range t.sorted() {
		parts = append(parts, fmt.Sprintf("%d %s (%s)", o.n, o.why, o.names()))
	}
	if missing := t.Want - t.registered - t.unlisted; missing > 0 {
		part := fmt.Sprintf("%d missing", missing)
		if t.counted.n > 0 {
			part += fmt.Sprintf(" (%s: %s)", what, t.counted.names())
		}
		parts = append(parts, part)
	}
	return fmt.Sprintf("%s: %d of %d %s: %s", t.Endpoint, t.counted.n, t.Want, what, strings.Join(parts, ", "))
}

// sorted returns those that do not count, in an order of their own.
func (t *tally) sorted() []some {
	order := []string{unreachable, notReady, draining, unverified, unregistered, otherwise}
	return slices.SortedFunc(slices.Values(t.others), func(a, b some) int {
		return cmp.Compare(slices.Index(order, a.why), slices.Index(order, b.why))
	})
}
