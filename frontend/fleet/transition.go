package fleet

import (
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/verdict"
)

// Transition is a change of the verdict on one instance: what logs, events, metrics and histories
// tell of. It has memory of its own and does not change.
type Transition struct {
	At       time.Time
	Key      dynmesh.InstanceKey
	From     dynmesh.VerdictState // empty: the instance was not shown, or its worker had not spoken yet
	To       dynmesh.VerdictState // empty: the instance is shown no longer, and there are no Reasons
	Reasons  []string             // the first one decides
	Evidence verdict.Evidence     // from which To follows

	Auxiliary bool // its worker serves models, and none at this endpoint: what is told of the worker is told of it
}

const (
	maxChanges = 32
	flapWindow = 10 * time.Minute // in which changes of the state are counted
)

// Change is what is kept of a [Transition] between two verdicts.
type Change struct {
	At       time.Time
	From, To dynmesh.VerdictState
	Reason   string // the one that decided
}

// change is a Change in less space.
type change struct {
	at       time.Time
	reason   string
	from, to state
}

func (c change) whole() Change { return Change{c.at, c.from.word(), c.to.word(), c.reason} }

// kept returns the changes with one more, and without the oldest if there are too many.
func kept(changes []change, c change) []change {
	switch {
	case changes == nil:
		return []change{c} // exactly one: most instances have no more
	case len(changes) == maxChanges:
		copy(changes, changes[1:])
		changes[maxChanges-1] = c
		return changes
	}
	return append(changes, c)
}
