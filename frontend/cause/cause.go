package cause

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
)

// Label is something that workers may have in common. The zero value is the fleet, which all of
// them are.
type Label struct{ Name, Value string }

// String returns the label for people: host h7, or fleet.
func (l Label) String() string {
	if l == (Label{}) {
		return "fleet"
	}
	return l.Name + " " + l.Value
}

// Key returns the label as it stands in labels and in JSON: host=h7, or fleet.
func (l Label) Key() string {
	if l == (Label{}) {
		return "fleet"
	}
	return l.Name + "=" + l.Value
}

// order lists the names whose labels are named before others of the same workers: what can be
// looked at and repaired first.
var order = [...]string{"host", "node", "rack", "zone", "region", "gpu", "rollout", "version", "model", "endpoint", "namespace"}

// Compare orders labels by that, then by name, then by value.
func (l Label) Compare(o Label) int {
	return cmp.Or(cmp.Compare(rank(l.Name), rank(o.Name)), strings.Compare(l.Name, o.Name), strings.Compare(l.Value, o.Value))
}

func rank(name string) int {
	if n := slices.Index(order[:], name); n >= 0 {
		return n
	}
	return len(order)
}

// State is whether a worker fails, and how.
type State uint8

// The states. All but Well are failures.
const (
	Well        State = iota
	NotReady          // it is there, and cannot serve
	Unreachable       // it is gone, or out of reach
	Vanished          // it was unreachable when its registration ended
)

// Worker is what is known of a process.
type Worker struct {
	ID     dynmesh.InstanceID
	Labels []Label // of each name one
	State  State   // Well, NotReady or Unreachable
	Since  time.Time

	// Place is where it stands: one that comes to the place of one that has vanished replaces it.
	// Empty: it replaces none.
	Place string
}

// Cause is what explains why workers fail.
type Cause struct {
	Label
	Also    []Label // exactly the same workers have them
	Workers int     // that have the label, the failing ones among them

	NotReady, Unreachable, Vanished int

	Since       time.Time            // when so many failed that the label explains it
	VanishedIDs []dynmesh.InstanceID // those that have vanished, the first MaxVanishedIDs by ID
}

// Failing returns how many of the workers fail.
func (c Cause) Failing() int { return c.NotReady + c.Unreachable + c.Vanished }

// maxAlso is the most labels that String names beside the first.
const maxAlso = 3

// String says the cause in a line: host h7 (also rack r3): 8 of 8 unreachable.
func (c Cause) String() string {
	also := ""
	if len(c.Also) > 0 {
		var names []string
		for _, l := range c.Also[:min(maxAlso, len(c.Also))] {
			names = append(names, l.String())
		}
		if more := len(c.Also) - len(names); more > 0 {
			names = append(names, fmt.Sprintf("%d more labels", more))
		}
		also = " (also " + strings.Join(names, ", ") + ")"
	}
	return fmt.Sprintf("%s%s: %d of %d %s", c.Label, also, c.Failing(), c.Workers, c.how())
}

// how says how they fail.
func (c Cause) how() string {
	var ways []string
	for _, way := range []struct {
		n    int
		word string
	}{{c.Unreachable, "unreachable"}, {c.NotReady, "not ready"}, {c.Vanished, "lost"}} {
		switch {
		case way.n == 0:
		case way.n == c.Failing():
			return way.word
		default:
			ways = append(ways, fmt.Sprintf("%d %s", way.n, way.word))
		}
	}
	return "fail (" + strings.Join(ways, ", ") + ")"
}
