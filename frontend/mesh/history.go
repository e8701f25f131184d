package mesh

import (
	"encoding/json"

	"github.com/dynmesh/dynmesh"
)

// History is the answer of /history: the newest changes that were asked for, the oldest first.
type History struct {
	Begins      Time         `json:"begins,omitzero"` // what is kept; zero: there is nothing
	Transitions []Transition `json:"transitions"`
	Before      string       `json:"before,omitempty"`  // asks for what is older; empty: there is no more
	Damaged     int          `json:"damaged,omitempty"` // parts of the history that cannot be read
	Problem     string       `json:"problem,omitempty"` // why changes of now cannot be written
}

// Transition is one change: of the verdict on an instance; of the remarks on it, where From and To
// are the same; or of a cause, which is named and ends.
type Transition struct {
	At       Time                 `json:"at"`
	Endpoint string               `json:"endpoint,omitempty"` // dyn://namespace.component.endpoint; empty of a cause
	ID       dynmesh.InstanceID   `json:"id,omitzero"`
	From     dynmesh.VerdictState `json:"from"` // empty: it was not shown, or its worker had not spoken yet
	To       dynmesh.VerdictState `json:"to"`   // empty: it is shown no longer

	// Instance is an [Instance] as it was at that moment, with the evidence from which To follows, but
	// for its Changes: these are transitions of their own. Null where To is empty, and of a cause.
	Instance json.RawMessage `json:"instance"`

	// Cause is a [Cause] that has been named, or has ended, and then as it was until then. Nil of an
	// instance.
	Cause json.RawMessage `json:"cause,omitempty"`
}

// Named is the state of a cause: From where it has ended, To where it has been named.
const Named dynmesh.VerdictState = "named"

// Around is what a history keeps of what stands around the instances.
type Around struct {
	Discovery Discovery       `json:"discovery"`
	Gossip    Gossip          `json:"gossip"`
	Outputs   []OutputHead    `json:"outputs,omitempty"`
	Warnings  json.RawMessage `json:"warnings"`
}

// Timeline is the answer of /history/counts.
type Timeline struct {
	Begins Time    `json:"begins,omitzero"`
	Points []Point `json:"points"`
}

// Point is how many instances were in which state at the end of a step.
type Point struct {
	At      Time                         `json:"at"`
	Known   bool                         `json:"known"` // a frontend was watching
	Changes int                          `json:"changes,omitempty"`
	Counts  map[dynmesh.VerdictState]int `json:"counts,omitempty"`
}
