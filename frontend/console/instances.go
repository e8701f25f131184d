package console

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/plain"
)

// maxUnderCause is the most instances that stand under their cause.
const maxUnderCause = 10

// writeInstances writes the instances that need attention, or all: first those that fail for what
// they have in common, under that.
func writeInstances(b *strings.Builder, s Snapshot, now time.Time, style Style) {
	rows := folded(s.Mesh, style.Wide)
	for _, c := range s.Mesh.Causes {
		var of, others []instanceRow
		for _, r := range rows {
			if r.Cause == c.Name {
				of = append(of, r)
			} else {
				others = append(others, r)
			}
		}
		rows = others
		fmt.Fprintf(b, "\n%s\n", style.paint(bold, causeLine(c, now)))
		if n := len(of); n > maxUnderCause && !style.Wide {
			writeRows(b, s, of[:maxUnderCause], now, style)
			fmt.Fprintf(b, "and %d more\n", n-maxUnderCause)
		} else {
			writeRows(b, s, of, now, style)
		}
		if c.Ended > 0 {
			fmt.Fprintf(b, "lost, and listed no longer: %s\n", lostNames(c))
		}
	}
	if len(rows) > 0 {
		b.WriteByte('\n')
		writeRows(b, s, rows, now, style)
	}
}

// lostNames names the workers of a cause that are listed no longer.
func lostNames(c mesh.Cause) string {
	var names []string
	for _, id := range c.IDs[:min(maxListed, len(c.IDs))] {
		names = append(names, id.String())
	}
	if more := c.Ended - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, " ")
}

// writeRows writes a table of instances, if there are any.
func writeRows(b *strings.Builder, s Snapshot, rows []instanceRow, now time.Time, style Style) {
	if len(rows) == 0 {
		return
	}
	t := table{style: style}
	heads := []string{"ENDPOINT", "INSTANCE", "VERDICT", "FOR"}
	outputs := len(s.Mesh.Outputs) > 0
	if outputs {
		heads = append(heads, "WITHDRAWN")
	}
	heads = append(heads, "HOST")
	if style.Wide {
		heads = append(heads, "VERSION", "GOSSIP")
	}
	t.heads(append(heads, "REASON")...)
	for _, f := range rows {
		where := withdrawn(f.Instance)
		cells := []cell{
			{f.where(), noColour}, {f.ID.String(), noColour},
			{verdict(f.Instance, style.Wide), colourOf(f.Instance)}, {since(f.Since.Time, now), noColour},
		}
		if outputs {
			cells = append(cells, cell{cmp.Or(where, "-"), noColour})
		}
		cells = append(cells, workerCells(f.Worker, style.Wide)...)
		for n, reason := range reasons(f.Instance, style.Wide) {
			if n > 0 {
				cells = make([]cell, len(cells))
			}
			t.row(append(cells[:len(cells):len(cells)], cell{withAges(plain.Text(reason, maxReason), now), noColour})...)
		}
	}
	t.write(b)
}

// instanceRow is a line of the table of instances.
type instanceRow struct {
	Found
	more int // endpoints at which the same is to be said of its worker
}

// where says at which endpoints it is.
func (r instanceRow) where() string {
	name := plain.Text(r.Endpoint, maxName)
	if r.more > 0 {
		name += fmt.Sprintf(" and %d more", r.more)
	}
	return name
}

// folded returns the instances that need attention, each worker once that is alike at several
// endpoints: it died once. all: every instance.
func folded(m *client.Mesh, all bool) []instanceRow {
	type death struct {
		id                      dynmesh.InstanceID
		verdict, where, remarks string
	}
	var rows []instanceRow
	place := map[death]int{}
	for _, e := range m.Endpoints {
		for _, i := range e.Instances {
			where := withdrawn(i)
			if i.Auxiliary || isHealthy(i) && len(i.Remarks) == 0 && where == "" && !all {
				continue
			}
			d := death{i.ID, verdict(i, false), where, strings.Join(remarksOf(i), "\n")}
			if n, known := place[d]; known && !all {
				rows[n].more++
				continue
			}
			place[d] = len(rows)
			rows = append(rows, instanceRow{Found: Found{e.Name, i}})
		}
	}
	return rows
}

// withdrawn names the outputs that have told routers to leave an instance alone, or would have.
func withdrawn(i mesh.Instance) string {
	var names []string
	for _, o := range i.Outputs {
		name := plain.Text(o.Name, maxName)
		if o.DryRun {
			name = "(" + name + ")"
		}
		if (o.State == "out" || o.State == "draining") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// verdict is an instance's state in words.
func verdict(i mesh.Instance, verified bool) string {
	v := plain.Text(i.Verdict, 20)
	if !i.Registered {
		v += ", not registered"
	}
	if verified && i.Verdict == dynmesh.Ready && !i.Verified {
		v += ", not verified"
	}
	return v
}

func colourOf(i mesh.Instance) colour {
	switch {
	case i.Verdict == dynmesh.Unreachable:
		return red
	case i.Verdict == dynmesh.Draining:
		return cyan
	case isHealthy(i):
		return green
	}
	return yellow
}

// reasons returns those to show, at least one.
func reasons(i mesh.Instance, all bool) []string {
	switch {
	case len(i.Reasons) == 0:
		return []string{""}
	case all:
		return i.Reasons
	}
	remarks := remarksOf(i)
	if isHealthy(i) && len(remarks) > 0 {
		return remarks // why it is ready is no news
	}
	return append(i.Reasons[:1:1], remarks...) // the first decides
}

// remarksOf returns what is remarked on an instance.
func remarksOf(i mesh.Instance) (texts []string) {
	for _, r := range i.Remarks {
		texts = append(texts, r.Text)
	}
	return texts
}

// workerCells says where a worker is; all: which one it is, too.
func workerCells(w *mesh.Worker, all bool) (cells []cell) {
	if w == nil {
		w = &mesh.Worker{}
	}
	texts := []string{w.Host, w.Version, string(w.Gossip)}
	if !all {
		texts = texts[:1]
	}
	for _, text := range texts {
		c := cell{plain.Text(strings.TrimSpace(text), 40), noColour}
		if c.text == "" {
			c = cell{"-", dim}
		}
		cells = append(cells, c)
	}
	return cells
}
