package fleet

import (
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/verdict"
)

// Transition is a change of the verdict on one instance, or of what stands beside it: what logs,
// events, metrics and histories tell of. It has memory of its own and does not change.
type Transition struct {
	At       time.Time
	Key      dynmesh.InstanceKey
	From     dynmesh.VerdictState // empty: the instance was not shown, or its worker had not spoken yet
	To       dynmesh.VerdictState // empty: the instance is shown no longer, and there are no Reasons
	Reasons  []string             // the first one decides
	Remark   *Remark              // that began or ended, where From and To are the same; nil: they are not
	Evidence verdict.Evidence     // from which To follows

	Auxiliary bool // see Instance.Auxiliary
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

// Remark is what stands beside a verdict, which stays what it is: an instance works, and differs
// from its peers in what it measures.
type Remark struct {
	Measure dynmesh.Measure // in which it differs
	Text    string          // one line; empty: it differs no longer
	Since   time.Time       // when it began, or ended
}

// Measures are those that there are remarks on.
func Measures() []dynmesh.Measure {
	return []dynmesh.Measure{dynmesh.MeasureAnswers, dynmesh.MeasurePace, dynmesh.MeasureFailures}
}

// RemarkKinds are those of all measures.
func RemarkKinds() (kinds []string) {
	for _, m := range Measures() {
		kinds = append(kinds, RemarkKind(m))
	}
	return kinds
}

// RemarkKind is a remark of a measure in one word: answers, slow or failures.
func RemarkKind(m dynmesh.Measure) string {
	switch m {
	case dynmesh.MeasurePace:
		return "slow"
	case dynmesh.MeasureFailures:
		return "failures"
	}
	return "answers"
}

// remarks are those on one instance.
type remarks struct {
	all    []Remark // by measure
	untold []Remark // of all, those that began since the last Reconcile, and those that ended
}

// reasons returns those of a verdict, of which the first decides, with the remarks behind them.
func (r *remarks) reasons(of []string) []string {
	if r == nil {
		return of
	}
	of = slices.Clip(of)
	for _, o := range r.all {
		of = append(of, o.Text)
	}
	return of
}
