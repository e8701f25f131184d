package grey

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// starved is a wait for a processor that makes a cell worth little.
const starved = time.Second

// outcome is what became of one cell.
type outcome struct {
	spec   spec
	found  bool          // in whatever words
	after  time.Duration // that long after the fault
	right  bool          // and for the right reason
	reason string        // what was said
	alarms []string      // of replicas that were well
	late   time.Duration // the longest that this process waited for its turn meanwhile
	err    string        // why nothing was measured
}

// met says whether a cell of dynmesh's is as it should be; of others nothing is wanted but that
// they find nothing where nothing is.
func (o outcome) met() bool {
	switch {
	case o.err != "":
		return true
	case o.spec.fault.control:
		return !o.found
	case len(o.alarms) > 0:
		return false
	}
	return !o.spec.held() || o.right && o.after <= o.spec.fault.goal
}

// String is a cell of the table.
func (o outcome) String() string {
	text := "not found"
	switch {
	case o.err != "":
		return o.err
	case o.right && o.spec.idle && o.spec.router.start != nil:
		text = "found"
	case o.right:
		text = fmt.Sprintf("%.1f s", o.after.Seconds())
	case o.found:
		text = fmt.Sprintf("%.1f s, wrong reason", o.after.Seconds())
	}
	if n := len(o.alarms); n > 0 {
		text += fmt.Sprintf(", %d false", n)
	}
	if o.late > starved {
		text += fmt.Sprintf(" (starved for %.1f s)", o.late.Seconds())
	}
	if !o.met() {
		text = "**" + text + "**"
	}
	return text
}

// table is all cells.
type table []outcome

// missed are the cells of dynmesh that are not as they should be.
func (b table) missed() (all []string) {
	for _, o := range b {
		if !o.met() {
			all = append(all, fmt.Sprintf("%s: %s; it says: %q; of others: %q", o.spec, o, o.reason, o.alarms))
		}
	}
	slices.Sort(all)
	return all
}

// print writes a line for each fault and a column for each router, idle and under load, then the
// sums, and a legend.
func (b table) print(s selection) string {
	cells := map[string]outcome{}
	for _, o := range b {
		cells[o.spec.String()] = o
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\n| fault |")
	for _, r := range s.routers {
		for _, when := range s.when {
			fmt.Fprintf(&text, " %s, %s |", r, when)
		}
	}
	fmt.Fprintf(&text, "\n|%s\n", strings.Repeat(" --- |", 1+len(s.routers)*len(s.when)))
	found, all := map[string]int{}, map[string]int{}
	faults := slices.DeleteFunc(slices.Clone(s.faults), func(f fault) bool {
		return f.control && !slices.ContainsFunc(s.routers, func(r router) bool { return r.start != nil })
	})
	for _, f := range faults {
		line := "| " + f.name + " |"
		for _, r := range s.routers {
			for _, when := range s.when {
				said := "–"
				if o, ok := cells[spec{router: r, fault: f, idle: when == idle, replicas: s.replicas, rate: s.rate}.String()]; ok {
					said = o.String()
					if key := r.name + when.String(); !f.control {
						all[key]++
						if o.right && o.err == "" {
							found[key]++
						}
					}
				}
				line += " " + said + " |"
			}
		}
		fmt.Fprintln(&text, line)
	}
	line := "| found |"
	for _, r := range s.routers {
		for _, when := range s.when {
			key := r.name + when.String()
			line += fmt.Sprintf(" %d of %d |", found[key], all[key])
		}
	}
	fmt.Fprintf(&text, `%s

%d replicas, under load %d streaming requests/s; seconds from the fault until it is found. dynmesh: within %v, or %v where the goal is %v, or %v where there is none, and for the right reason.
Routers: from when on the one that broke gets no more requests, within %v, but for single ones %v after the one before was gone; while idle, whether it is asked after %v at all.
In bold: a goal that dynmesh misses, or a router that leaves alone what is not broken. false: replicas that were well, and named. starved: this machine kept the bench from running for so long: measure it again.

`, line, s.replicas, s.rate, spec{fault: fault{goal: soon}}.window(), spec{fault: fault{goal: later}}.window(), later, unheld, foundWithin, trial, idleTime)
	for _, f := range faults {
		fmt.Fprintf(&text, "- %s: %s\n", f.name, f.what)
	}
	fmt.Fprintln(&text)
	for _, r := range s.routers {
		fmt.Fprintf(&text, "- %s: %s\n", r.name, cmp.Or(r.what, "its defaults"))
	}
	return text.String()
}
