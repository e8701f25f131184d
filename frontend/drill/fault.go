package drill

import (
	"fmt"
	"strings"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/mesh"
)

// Kind is a way in which a phantom is broken.
type Kind string

// The kinds.
const (
	Killed Kind = "killed" // its process, by SIGKILL
	Frozen Kind = "frozen" // its process, by SIGSTOP: the kernel still takes its connections
	Hung   Kind = "hung"   // its engine takes requests, and answers nothing
	Errors Kind = "errors" // its engine answers 500
)

// Order is what a phantom does with its engine when it is told.
type Order string

// The orders.
const (
	OrderHang   Order = "hang"
	OrderErrors Order = "errors"
)

// fault is what a kind does, and what a frontend is to say of it.
type fault struct {
	kind    Kind
	wants   string // in a word or two, for people
	inflict func(Phantom) error

	// lacks returns what of that a frontend does not say of the instance; empty: it says all of it.
	lacks func(*mesh.Instance) string
}

// faults are all, in their order. One that changes no verdict, such as wrong answers, has a lacks
// of its own.
func faults() []fault {
	unreached := []string{"cannot reach it", "declared its worker dead", "it is frozen"}
	return []fault{
		{Killed, string(dynmesh.Unreachable), Phantom.Kill, verdictIs(dynmesh.Unreachable, unreached...)},
		{Frozen, string(dynmesh.Unreachable), Phantom.Freeze, verdictIs(dynmesh.Unreachable, unreached...)},
		{Hung, string(dynmesh.NotReady), ordered(OrderHang), verdictIs(dynmesh.NotReady, "timeout", "frozen", "stalled")},
		{Errors, string(dynmesh.NotReady), ordered(OrderErrors), verdictIs(dynmesh.NotReady, "500")},
	}
}

func ordered(o Order) func(Phantom) error {
	return func(p Phantom) error { return p.Order(o) }
}

// verdictIs wants a verdict, and one of these words in its first reason, which is the one that
// decided.
func verdictIs(state dynmesh.VerdictState, words ...string) func(*mesh.Instance) string {
	return func(i *mesh.Instance) string {
		if i.Verdict != state {
			return fmt.Sprintf("the verdict is %s", i.Verdict)
		}
		for _, word := range words {
			if strings.Contains(reasonOf(i), word) {
				return ""
			}
		}
		return fmt.Sprintf("the verdict is right, and its reason is another one: none of %q", words)
	}
}

func reasonOf(i *mesh.Instance) string {
	if i == nil || len(i.Reasons) == 0 {
		return ""
	}
	return i.Reasons[0]
}
