package output

import (
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
)

// State is what becomes of a server.
type State uint8

// The states.
const (
	Out      State = iota // it gets no requests
	Draining              // it gets no new requests, and finishes those it has
	Degraded              // it gets requests, and fewer of them
	In                    // it gets requests
)

// States are all of them, in order.
func States() [4]State { return [...]State{Out, Draining, Degraded, In} }

// String returns out, draining, degraded or in.
func (s State) String() string {
	switch s {
	case Draining:
		return "draining"
	case Degraded:
		return "degraded"
	case In:
		return "in"
	}
	return "out"
}

// MarshalText writes what String does.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Serves says whether new requests go there.
func (s State) Serves() bool { return s >= Degraded }

// Weights of servers, relative to each other.
const (
	fullWeight     = 100
	degradedWeight = 50
)

// Weight is how much a server of this state gets, relative to others: 0 to 100.
func (s State) Weight() int {
	switch s {
	case In:
		return fullWeight
	case Degraded:
		return degradedWeight
	}
	return 0
}

// Server is an instance, as what routes sees it.
type Server struct {
	Instance dynmesh.InstanceKey

	// Addr is the host:port where it listens. Empty where it has none of its own, as behind a broker:
	// what routes by address leaves such a server out.
	Addr   string
	Scheme string // http, https or tcp (which is Dynamo's request plane, and not HTTP); empty with Addr

	Pod Pod // where Kubernetes runs it

	State   State
	Held    bool                 // it serves because of the floor, and would be out
	New     bool                 // it is out because it has not worked yet: it was never in
	Unheard bool                 // it is New, and nobody has said anything of it yet
	Verdict dynmesh.VerdictState // when State began
	Since   time.Time            // when State began
	Reason  string               // of State, for people: one line
}

// Pod is a pod, by what names it. Zero: Kubernetes is no registry of the server's.
type Pod struct{ Name, UID, Node string }

// Target is what serves one endpoint or one model. It never changes.
type Target struct {
	Name    string   // dyn://namespace.component.endpoint, or model/NAME
	Servers []Server // each address once; by address, then by instance
	Floor   int      // so many are to serve at least
	Warning string   // why the floor holds servers; empty: it does not
}

// Serving returns how many of the servers serve.
func (t *Target) Serving() int {
	n := 0
	for i := range t.Servers {
		if t.Servers[i].State.Serves() {
			n++
		}
	}
	return n
}

// Server returns the server of an instance; nil if the target has none.
func (t *Target) Server(of dynmesh.InstanceKey) *Server {
	for i := range t.Servers {
		if t.Servers[i].Instance == of {
			return &t.Servers[i]
		}
	}
	return nil
}

// instances are those of its servers; of no target, none.
func (t *Target) instances() map[dynmesh.InstanceKey]bool {
	has := map[dynmesh.InstanceKey]bool{}
	if t != nil {
		for i := range t.Servers {
			has[t.Servers[i].Instance] = true
		}
	}
	return has
}

// Assignment is what all servers of all targets are to be. It never changes. Where a target is as
// in the assignment before, it is the same pointer.
type Assignment struct {
	Version uint64    // counts the assignments of a policy, from 1
	Targets []*Target // by name
}

// Target returns the target of a name; nil if there is none.
func (a *Assignment) Target(name string) *Target {
	at, found := slices.BinarySearchFunc(a.Targets, name, func(t *Target, name string) int { return strings.Compare(t.Name, name) })
	if !found {
		return nil
	}
	return a.Targets[at]
}

// modelPrefix begins the names of targets that are models.
const modelPrefix = "model/"

// ModelTarget returns the name of the target of a model.
func ModelTarget(model string) string { return modelPrefix + model }
