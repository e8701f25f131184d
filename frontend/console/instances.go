package console

import (
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/plain"
)

// writeInstances writes the table of instances that need attention, or of all.
func writeInstances(b *strings.Builder, s Snapshot, now time.Time, style Style) {
	t := table{style: style}
	heads := []string{"ENDPOINT", "INSTANCE", "VERDICT", "FOR"}
	if style.Wide {
		heads = append(heads, "HOST", "VERSION", "GOSSIP")
	}
	t.heads(append(heads, "REASON")...)
	for _, e := range s.Mesh.Endpoints {
		for _, i := range e.Instances {
			if well(i) && !style.Wide {
				continue
			}
			cells := []cell{
				{plain.Text(e.Name, maxName), noColour}, {i.ID.String(), noColour},
				{verdict(i, style.Wide), colourOf(i)}, {since(i.Since.Time, now), noColour},
			}
			if style.Wide {
				cells = append(cells, workerCells(i.Worker)...)
			}
			for n, reason := range reasons(i, style.Wide) {
				if n > 0 {
					cells = make([]cell, len(cells))
				}
				t.row(append(cells[:len(cells):len(cells)], cell{aged(plain.Text(reason, maxReason), now), noColour})...)
			}
		}
	}
	if len(t.rows) > 1 {
		b.WriteByte('\n')
		t.write(b)
	}
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
	case well(i):
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
	return i.Reasons[:1] // it decides
}

func workerCells(w *mesh.Worker) []cell {
	if w == nil {
		return []cell{{"-", dim}, {"-", dim}, {"-", dim}}
	}
	var cells []cell
	for _, text := range []string{w.Host, w.Version, string(w.Gossip)} {
		c := cell{plain.Text(strings.TrimSpace(text), 40), noColour}
		if c.text == "" {
			c = cell{"-", dim}
		}
		cells = append(cells, c)
	}
	return cells
}
