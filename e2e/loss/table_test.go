package loss

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh/e2e/rig"
)

// starved is a wait for a processor that makes a cell worth little.
const starved = time.Second

// outcome is what became of the requests of one cell.
type outcome struct {
	spec  spec
	sent  int // since the fault
	lost  int // of those
	slow  int // of those: answered, and later than slow
	cut   int // that had been sent before the fault, and were lost
	last  time.Duration
	first string        // why the first was lost
	share float64       // of the answers that a slow replica gave in the end
	late  time.Duration // the longest that this process waited for its turn meanwhile
	err   string        // why nothing was measured
}

func (l *load) outcome(s spec, struck time.Time) outcome {
	o := l.count(struck)
	o.spec = s
	return o
}

// String is a cell of the table.
func (o outcome) String() string {
	if o.err != "" {
		return "not measured: " + o.err
	}
	text := fmt.Sprintf("%d/%d", o.lost, o.sent)
	if o.lost > 0 && !o.spec.fault.idle {
		text += fmt.Sprintf(", %.1f s", o.last.Seconds())
	}
	for _, more := range []struct {
		n    int
		what string
	}{{o.cut, "cut"}, {o.slow, "slow"}} {
		if more.n > 0 {
			text += fmt.Sprintf(", %d %s", more.n, more.what)
		}
	}
	if o.spec.fault.name == "S" {
		text += fmt.Sprintf(", %.0f %%", 100*o.share)
	}
	if o.late > starved {
		text += fmt.Sprintf(" (starved for %.1f s)", o.late.Seconds())
	}
	if most, held := o.spec.goal(); held && o.lost > most {
		text = fmt.Sprintf("**%s** (goal %d)", text, most)
	}
	return text
}

// table is all cells.
type table []outcome

// missed are the cells that lost more than their goal.
func (b table) missed() (all []string) {
	for _, o := range b {
		if most, held := o.spec.goal(); held && o.err == "" && o.lost > most {
			all = append(all, fmt.Sprintf("%s: %s, the first: %s", o.spec, o, o.first))
		}
	}
	slices.Sort(all)
	return all
}

// print writes a table for each size and rate, as docs/benchmarks.md has them, and a legend.
func (b table) print(all []router) string {
	type size struct {
		kind          kind
		engines, rate int
	}
	var sizes []size
	cells := map[string]outcome{}
	for _, o := range b {
		if of := (size{o.spec.kind, o.spec.engines, o.spec.rate}); !slices.Contains(sizes, of) {
			sizes = append(sizes, of)
		}
		cells[o.spec.String()] = o
	}
	slices.SortFunc(sizes, func(a, b size) int {
		return cmp.Or(-cmp.Compare(a.kind, b.kind), a.engines-b.engines, a.rate-b.rate)
	})
	var text strings.Builder
	for _, of := range sizes {
		var columns []fault
		for _, f := range faults() {
			if slices.ContainsFunc(b, func(o outcome) bool {
				return o.spec.fault.name == f.name && size{o.spec.kind, o.spec.engines, o.spec.rate} == of
			}) {
				columns = append(columns, f)
			}
		}
		fmt.Fprintf(&text, "\n%d engines (%s), %d requests/s:\n\n| router | %s |\n|%s\n", of.engines, of.kind, of.rate,
			strings.Join(rig.Names(columns), " | "), strings.Repeat(" --- |", len(columns)+1))
		for _, r := range all {
			line := "| " + r.name + " |"
			for _, f := range columns {
				said := "–"
				if o, ok := cells[(spec{of.kind, of.engines, of.rate, r, f}).String()]; ok {
					said = o.String()
				}
				line += " " + said + " |"
			}
			fmt.Fprintln(&text, line)
		}
	}
	fmt.Fprintf(&text, `
lost/sent since the fault, and how many seconds after it the last lost one was sent. Lost: no whole answer within %v.
cut: lost, and under way when the fault came. slow: answered, after more than %v. S: which part of the answers the slow one gave in the end.
starved: this machine kept the clients from running for so long: measure it again. In bold: more than the goal.

`, patience, slow)
	for _, f := range faults() {
		fmt.Fprintf(&text, "- %s: %s\n", f.name, f.what)
	}
	fmt.Fprintln(&text)
	for _, r := range all {
		fmt.Fprintf(&text, "- %s: %s\n", r.name, r.what)
	}
	return text.String()
}
