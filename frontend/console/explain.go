package console

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/plain"
)

// Explain renders what is known of one instance: its verdict, why, and the evidence from the oldest to the newest. m is the
// whole mesh, which says who the observers are; now is the frontend's.
func Explain(m *client.Mesh, f Found, now time.Time, style Style) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s is %s\n\n", style.paint(bold, f.ID.String()), plain.Text(f.Endpoint, maxName), style.paint(colourOf(f.Instance), verdict(f.Instance, true)))
	fmt.Fprintf(&b, "since     %s (%s)", clock(f.Since.Time), age(f.Since.Time, now))
	if f.Flaps > 0 {
		fmt.Fprintf(&b, "; its verdict changed %s lately", times(f.Flaps))
	}
	fmt.Fprintf(&b, "\nworker    %s\n", aged(workerLine(f.Worker), now))
	if state := m.Discovery.State.String(); state != "synced" {
		fmt.Fprintf(&b, "registry  %s\n", style.paint(yellow, aged(state+" since "+clock(m.Discovery.Since.Time), now)))
	}

	b.WriteString("\nwhy\n")
	for _, r := range reasons(f.Instance, true) {
		fmt.Fprintf(&b, "  - %s\n", aged(plain.Text(r, maxReason), now))
	}
	b.WriteString("\nevidence, the oldest first\n")
	t := table{style: style, right: []bool{false, true, false}}
	for _, e := range evidence(m, f) {
		t.row(cell{"  " + clock(e.at), dim}, cell{age(e.at, now), noColour}, cell{e.text, e.colour})
	}
	if len(t.rows) == 0 {
		b.WriteString("  none: nobody has observed it\n")
	}
	t.write(&b)
	return b.String()
}

// event is a line of the story.
type event struct {
	at     time.Time
	text   string
	colour colour
}

// evidence puts observations and changes of the verdict in order. What was observed at the moment of a change stands before it.
func evidence(m *client.Mesh, f Found) []event {
	var all []event
	known := names(m)
	for _, o := range f.Observations {
		by, ok := known[o.Observer]
		if !ok {
			by = plain.Text(o.Observer, 20)
		}
		e := event{at: o.At.Time, text: told(o, by)}
		switch {
		case !o.Counts:
			e.colour = dim
		case o.Finding == "fail" || o.Finding == "stalled":
			e.colour = red
		}
		all = append(all, e)
	}
	decided := reasons(f.Instance, false)[0]
	for _, c := range f.Changes {
		all = append(all, event{at: c.At.Time, text: changed(c, decided), colour: bold})
	}
	slices.SortStableFunc(all, func(a, b event) int { return a.at.Compare(b.at) })
	return all
}

// names says who has which ID, for people.
func names(m *client.Mesh) map[string]string {
	all := map[string]string{}
	for _, member := range m.Members {
		id := member.ID.String()
		all[id] = plain.Text(member.Role, 20) + " " + id
	}
	for _, e := range m.Endpoints {
		for _, i := range e.Instances {
			if id := i.ID.String(); i.Worker != nil && i.Worker.Host != "" {
				all[id] = "worker " + id + " on " + plain.Text(i.Worker.Host, maxName)
			}
		}
	}
	if m.Gossip.Self != 0 {
		all[m.Gossip.Self.String()] = "this frontend" // as reasons have it
	}
	return all
}

func workerLine(w *mesh.Worker) string {
	if w == nil {
		return "it does not run dynmesh, or has not been heard of"
	}
	var parts []string
	for _, part := range []struct{ format, value string }{
		{"on %s", w.Host}, {"version %s", w.Version}, {"status at %s/health", strings.TrimRight(w.SystemURL, "/")},
	} {
		if part.value != "" {
			parts = append(parts, fmt.Sprintf(part.format, plain.Text(part.value, maxName)))
		}
	}
	if w.PID != 0 {
		parts = append(parts, fmt.Sprintf("pid %d", w.PID))
	}
	if !w.StartedAt.IsZero() {
		parts = append(parts, "started at "+clock(w.StartedAt.Time))
	}
	if w.Gossip != "" {
		parts = append(parts, plain.Text(w.Gossip, 20)+" in gossip")
	} else {
		parts = append(parts, "no member of gossip")
	}
	for _, key := range slices.Sorted(maps.Keys(w.Labels))[:min(maxListed, len(w.Labels))] {
		parts = append(parts, plain.Text(key+"="+w.Labels[key], 60))
	}
	return strings.Join(parts, ", ")
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
