package expect

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/plain"
)

// Evaluate holds expectations against what there is. The same view gives the same result, whatever
// order it is in.
//
// An instance counts when it is registered and ready, and verified where that is asked for. Before
// the registry has been read, nothing is ready. While it cannot be read, what was known last
// counts.
func Evaluate(expectations []Expectation, view View) Result {
	r := Result{Discovery: view.Discovery.String(), Expectations: []Outcome{}, Reasons: []string{}}
	if view.Discovery == dynmesh.Syncing {
		r.Reasons = append(r.Reasons, "the registry has not been read yet")
	}
	for _, e := range expectations {
		t := tally{Expectation: e}
		for _, endpoint := range view.Endpoints {
			if e.IsModel() || e.Matches(endpoint.Name) {
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
		r.Reasons = append(r.Reasons, "the registry cannot be read since "+view.Since.UTC().Format(time.RFC3339)+": what is registered is what was known then")
	}
	return r
}

// tally counts the instances of one expectation.
type tally struct {
	Expectation
	registered int
	unlisted   int // not registered, and known all the same
	counted    sample
	buckets    []sample // those that do not count, by what is said of them
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
		if t.IsModel() && !slices.ContainsFunc(i.Models, t.MatchesModel) {
			continue
		}
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
			t.bucket(why).add(r)
		}
	}
}

// why is what is said of an instance: ready of those that count, and one of few words of the
// others, whatever comes. One that drains has deregistered because it does.
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

// bucket returns those of whom this is said. There are few kinds, so looking through them is the
// fastest way.
func (t *tally) bucket(why string) *sample {
	for i := range t.buckets {
		if t.buckets[i].why == why {
			return &t.buckets[i]
		}
	}
	t.buckets = append(t.buckets, sample{why: why})
	return &t.buckets[len(t.buckets)-1]
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
	for _, o := range t.inOrder() {
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

// inOrder returns those that do not count, in an order of their own.
func (t *tally) inOrder() []sample {
	order := []string{unreachable, notReady, draining, unverified, unregistered, otherwise}
	return slices.SortedFunc(slices.Values(t.buckets), func(a, b sample) int {
		return cmp.Compare(slices.Index(order, a.why), slices.Index(order, b.why))
	})
}

const (
	maxNamed = 8  // instances that a reason names
	maxPlain = 80 // characters of a text from elsewhere
)

// ref is an instance as a reason names it.
type ref struct {
	endpoint string // empty where only one endpoint is meant
	id       dynmesh.InstanceID
}

func (r ref) String() string {
	if r.endpoint == "" {
		return r.id.String()
	}
	return plain.Text(strings.TrimPrefix(r.endpoint, scheme), maxPlain) + "/" + r.id.String()
}

func (r ref) compare(o ref) int {
	return cmp.Or(strings.Compare(r.endpoint, o.endpoint), cmp.Compare(r.id, o.id))
}

// sample are instances of which the same is said: how many, and the first few. A fleet of thousands
// may fail at once, and is counted anew at each change.
type sample struct {
	why   string
	n     int
	first []ref // in order, at most maxNamed
}

func (s *sample) add(r ref) {
	s.n++
	if len(s.first) == maxNamed {
		if r.compare(s.first[maxNamed-1]) > 0 {
			return
		}
		s.first = s.first[:maxNamed-1]
	}
	i, _ := slices.BinarySearchFunc(s.first, r, ref.compare)
	s.first = slices.Insert(s.first, i, r)
}

// names names the first few, and says how many more there are.
func (s *sample) names() string {
	var names []string
	for _, r := range s.first {
		names = append(names, r.String())
	}
	text := strings.Join(names, ", ")
	if more := s.n - len(s.first); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Result is whether a fleet has what is expected. As JSON it is what a frontend answers at /ready.
type Result struct {
	Discovery    string    `json:"discovery"` // syncing, synced or stale
	Expectations []Outcome `json:"expectations"`
	Ready        bool      `json:"ready"`   // the registry has been read, and every expectation holds
	Reasons      []string  `json:"reasons"` // one line each; none when Ready
}

// Outcome is whether one expectation holds.
type Outcome struct {
	Endpoint   string `json:"endpoint"` // as expected: any part may be *
	Have       int    `json:"have"`     // instances that count
	OK         bool   `json:"ok"`
	Registered int    `json:"registered"`
	Verified   bool   `json:"verified,omitempty"` // only verified ones count
	Want       int    `json:"want"`
}

// Expectation returns what was expected.
func (o Outcome) Expectation() Expectation {
	return Expectation{Endpoint: o.Endpoint, Want: o.Want, Verified: o.Verified}
}

// AppendJSON appends r as /ready answers it, without a line end.
func (r Result) AppendJSON(dst []byte) []byte {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false) // reasons are for people, who read them with curl
	if err := out.Encode(r); err != nil {
		panic(err) // unreachable: strings, numbers and booleans always marshal
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// String returns one line for people.
func (r Result) String() string {
	if r.Ready {
		return "ready"
	}
	return "not ready: " + strings.Join(r.Reasons, "; ")
}

// View is what a fleet has, as a frontend sees it. The order of what is in it does not matter.
type View struct {
	Discovery dynmesh.SyncState
	Since     time.Time // when Discovery began
	Endpoints []Endpoint
}

// Endpoint is one endpoint with its instances.
type Endpoint struct {
	Name      string // dyn://namespace.component.endpoint, as it came: others may have registered anything
	Instances []Instance
}

// Instance is one worker that serves an endpoint.
type Instance struct {
	ID         dynmesh.InstanceID
	Verdict    dynmesh.VerdictState // another word than its constants does not count as ready
	Verified   bool                 // a fresh canary or real traffic vouches for it
	Registered bool                 // what no registry lists nobody finds, so it is not counted
	Models     []Model              // that it serves, as far as is known
}

// Model is a model that an instance serves.
type Model struct {
	Name       string
	WorkerType string // such as decode; empty where its worker does not say
}
