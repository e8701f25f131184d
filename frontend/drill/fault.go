package drill

import (
	"fmt"
	"slices"
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
	Wrong  Kind = "wrong"  // its engine answers other words than those of its peers, which are phantoms, too
)

// Kinds are all, in the order in which they are tried.
func Kinds() (all []Kind) {
	for _, f := range faults() {
		all = append(all, f.kind)
	}
	return all
}

// Order is what a phantom does with its engine when it is told.
type Order string

// The orders.
const (
	OrderHang   Order = "hang"
	OrderErrors Order = "errors"
	OrderWrong  Order = "wrong"
)

// fault is what a kind does, and what a frontend is to say of it.
type fault struct {
	kind    Kind
	wants   string // in a word or two, for people
	inflict func(Phantom) error

	// lacks returns what of that a frontend does not say of the instance; empty: it says all of it.
	lacks func(*mesh.Instance) string

	// twice says that it may take twice as long as others.
	twice bool

	// peers are phantoms that are there besides, work, and answer as it does before the fault: without
	// any, answers are not compared.
	peers int
}

// wrongPeers is the fewest among which one that differs is a minority: see package
// frontend/answers.
const wrongPeers = 2

// faults are all, in their order.
func faults() []fault {
	unreached := []string{"cannot reach it", "declared its worker dead", "it is frozen"}
	return []fault{
		{Killed, string(dynmesh.Unreachable), Phantom.Kill, verdictIs(dynmesh.Unreachable, unreached...), false, 0},
		{Frozen, string(dynmesh.Unreachable), Phantom.Freeze, verdictIs(dynmesh.Unreachable, unreached...), false, 0},
		{Hung, string(dynmesh.NotReady), ordered(OrderHang), verdictIs(dynmesh.NotReady, "timeout", "frozen", "stalled"), false, 0},
		{Errors, string(dynmesh.NotReady), ordered(OrderErrors), verdictIs(dynmesh.NotReady, "500"), false, 0},
		{Wrong, "suspect", ordered(OrderWrong), isSuspect, true, wrongPeers},
	}
}

// chosen are the faults of some kinds; of none: all.
func chosen(kinds []Kind) []fault {
	if len(kinds) == 0 {
		return faults()
	}
	return slices.DeleteFunc(faults(), func(f fault) bool { return !slices.Contains(kinds, f.kind) })
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

// isSuspect wants a remark on an instance that is ready.
func isSuspect(i *mesh.Instance) string {
	if i.Verdict != dynmesh.Ready {
		return fmt.Sprintf("the verdict is %s, and it works", i.Verdict)
	}
	if remarkOn(i) == "" {
		return "nothing is remarked on its answers"
	}
	return ""
}

// remarkOn returns what is remarked on an instance's answers; empty: nothing.
func remarkOn(i *mesh.Instance) string {
	for _, r := range i.Remarks {
		if strings.Contains(r.Text, "suspect: answers differ") {
			return r.Text
		}
	}
	return ""
}

// reasonOf returns what is said of an instance's answers, and else the reason that decided.
func reasonOf(i *mesh.Instance) string {
	if r := remarkOn(i); r != "" {
		return r
	}
	if len(i.Reasons) == 0 {
		return ""
	}
	return i.Reasons[0]
}
