package console

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/plain"
)

// Lengths of what others chose, in characters.
const (
	maxName   = 100
	maxReason = 400
)

// unhealthyScore is the health score from which frontends doubt themselves, and warn of it:
// verdict.Unwell, whose package brings gossip along. Less is nothing: a worker that is killed costs
// a point or two, for some seconds.
const unhealthyScore = 3

// Status renders a snapshot: what the frontend stands on, a table of endpoints, and a table of the
// instances that are not ready. now is the frontend's.
func Status(s Snapshot, now time.Time, style Style) string {
	var b strings.Builder
	writeHead(&b, s, now, style)
	b.WriteByte('\n')
	writeModels(&b, s, style)
	switch rows := endpointRows(s); {
	case len(rows) > 0:
		writeEndpoints(&b, rows, style)
	case s.Mesh.Discovery.State == dynmesh.Syncing:
		b.WriteString("What is registered is not known yet.\n")
	default:
		b.WriteString("Nothing is registered.\n")
	}
	writeInstances(&b, s, now, style)
	aside := 0
	for _, e := range s.Mesh.Endpoints {
		if isAuxiliary(e) {
			aside++
		}
	}
	if aside > 0 {
		fmt.Fprintf(&b, "\nnot shown: %d endpoints without a model, of workers that serve one (explain names them)\n", aside)
	}
	for _, w := range s.Mesh.Warnings {
		fmt.Fprintf(&b, "\n%s %s\n", style.paint(yellow, "warning:"), withAges(plain.Text(w, maxReason), now))
	}
	return b.String()
}

// writeHead says what the rest rests on.
func writeHead(b *strings.Builder, s Snapshot, now time.Time, style Style) {
	d, g := s.Mesh.Discovery, s.Mesh.Gossip
	registry, c := "synced", green
	switch d.State {
	case dynmesh.Syncing:
		registry, c = "not read yet: it has not answered", red
	case dynmesh.Stale:
		registry, c = fmt.Sprintf("stale: last heard at %s, and what is registered is what was known then", formatTime(d.Since.Time)), yellow
	}
	for _, source := range d.Sources {
		if source.State != dynmesh.Synced {
			registry += fmt.Sprintf("; %s is %s", plain.Text(source.Name, maxName), source.State)
		}
	}
	fmt.Fprintf(b, "frontend  %s\n", plain.Text(s.Frontend, maxName))
	fmt.Fprintf(b, "registry  %s\n", style.paint(c, withAges(registry, now)))
	gossip, c := fmt.Sprintf("%d members, %d alive", g.Members, g.Alive), noColour
	if g.Suspect > 0 {
		gossip += fmt.Sprintf(", %d suspect", g.Suspect)
	}
	if g.Dead > 0 {
		gossip += fmt.Sprintf(", %d dead", g.Dead)
	}
	if g.UDPDegraded > 0 {
		gossip += fmt.Sprintf(", %d without UDP", g.UDPDegraded)
	}
	switch {
	case g.HealthScore >= unhealthyScore:
		gossip, c = fmt.Sprintf("%s; this frontend is slow or cut off (health score %d)", gossip, g.HealthScore), yellow
	case g.HealthScore > 0:
		gossip += fmt.Sprintf(", health score %d", g.HealthScore)
	}
	switch g.State {
	case "off":
		gossip, c = "off: this frontend takes no part, so it knows what is registered and no more", yellow
	case "alone":
		gossip, c = "alone: this frontend knows of no other member that is there", yellow
	}
	fmt.Fprintf(b, "gossip    %s\n", style.paint(c, gossip))
	switch {
	case s.ReadyErr != nil:
		fmt.Fprintf(b, "ready     %s\n", style.paint(yellow, "unknown: "+plain.Text(s.ReadyErr.Error(), maxReason)))
	case s.Ready == nil:
		b.WriteString("ready     unknown: this frontend has no /ready\n")
	case s.Ready.Ready && len(s.Ready.Expectations) == 0:
		b.WriteString("ready     yes, but nothing is expected: it says only that the registry has been read\n")
	case s.Ready.Ready:
		fmt.Fprintf(b, "ready     %s\n", style.paint(green, "yes"))
	default:
		fmt.Fprintf(b, "ready     %s\n", style.paint(red, "no"))
		for _, r := range s.Ready.Reasons {
			fmt.Fprintf(b, "          %s\n", withAges(plain.Text(r, 4*maxReason), now))
		}
	}
	for _, c := range s.Mesh.Causes {
		fmt.Fprintf(b, "cause     %s\n", style.paint(red, causeLine(c, now)))
	}
}

// causeLine says what workers that fail have in common, and for how long.
func causeLine(c mesh.Cause, now time.Time) string {
	return fmt.Sprintf("%s for %s", plain.Text(c.Line, maxReason), since(c.Since.Time, now))
}

// modelRow is a line of the table of models: a model in one role of workers.
type modelRow struct {
	model, role       string
	ready, registered int
}

// writeModels writes the table of models, where there are any.
func writeModels(b *strings.Builder, s Snapshot, style Style) {
	var rows []modelRow
	place := map[mesh.Model]int{}
	for _, e := range s.Mesh.Endpoints {
		for _, i := range e.Instances {
			for _, m := range i.Models {
				n, known := place[m]
				if !known {
					n, place[m] = len(rows), len(rows)
					rows = append(rows, modelRow{model: m.Name, role: m.WorkerType})
				}
				if i.Registered {
					rows[n].registered++
				}
				if i.Registered && i.Verdict == dynmesh.Ready {
					rows[n].ready++
				}
			}
		}
	}
	if len(rows) == 0 {
		return
	}
	slices.SortFunc(rows, func(x, y modelRow) int { return cmp.Or(cmp.Compare(x.model, y.model), cmp.Compare(x.role, y.role)) })
	t := table{style: style}
	t.heads("MODEL", "ROLE", "+READY", "+REGISTERED")
	for _, r := range rows {
		c := green
		if r.ready < r.registered {
			c = yellow
		}
		t.row(cell{plain.Text(r.model, maxName), noColour}, cell{cmp.Or(plain.Text(r.role, maxName), "-"), noColour},
			cell{strconv.Itoa(r.ready), c}, cell{strconv.Itoa(r.registered), noColour})
	}
	t.write(b)
	b.WriteByte('\n')
}

// isAuxiliary says whether all instances of an endpoint are seen under their workers, which serve
// models elsewhere.
func isAuxiliary(e mesh.Endpoint) bool {
	return len(e.Instances) > 0 && !slices.ContainsFunc(e.Instances, func(i mesh.Instance) bool { return !i.Auxiliary })
}

// endpointRow is a line of the table of endpoints: an endpoint that there is, or one that is
// expected.
type endpointRow struct {
	mesh.EndpointHead
	expected []expect.Outcome
}

// endpointRows returns what there is and what is expected, by name.
func endpointRows(s Snapshot) []endpointRow {
	var rows []endpointRow
	for _, e := range s.Mesh.Endpoints {
		if !isAuxiliary(e) {
			rows = append(rows, endpointRow{EndpointHead: e.EndpointHead})
		}
	}
	if s.Ready != nil {
		for _, o := range s.Ready.Expectations {
			i := slices.IndexFunc(rows, func(r endpointRow) bool { return r.Name == o.Endpoint })
			if i < 0 {
				i = len(rows)
				rows = append(rows, endpointRow{EndpointHead: matching(s.Mesh, o)})
			}
			rows[i].expected = append(rows[i].expected, o)
		}
	}
	slices.SortStableFunc(rows, func(a, b endpointRow) int { return cmp.Compare(a.Name, b.Name) })
	return rows
}

// matching adds up what an expectation is about: endpoints, or instances that serve a model.
func matching(m *client.Mesh, o expect.Outcome) mesh.EndpointHead {
	sum := mesh.EndpointHead{Name: o.Endpoint}
	serves := func(m mesh.Model) bool {
		return o.Expectation().MatchesModel(expect.Model{Name: m.Name, WorkerType: m.WorkerType})
	}
	for _, e := range m.Endpoints {
		if o.Expectation().Matches(e.Name) {
			sum.Ready += e.Ready
			sum.Registered += e.Registered
			sum.Verified += e.Verified
			sum.Unregistered += e.Unregistered
		}
		for _, i := range e.Instances {
			switch {
			case !slices.ContainsFunc(i.Models, serves):
				continue
			case !i.Registered:
				sum.Unregistered++
				continue
			case i.Verdict == dynmesh.Ready && i.Verified:
				sum.Verified++
				fallthrough
			case i.Verdict == dynmesh.Ready:
				sum.Ready++
			}
			sum.Registered++
		}
	}
	return sum
}

func (r endpointRow) expectedCell() (text string, c colour) {
	c = green
	for _, o := range r.expected {
		have := r.Ready
		want := strconv.Itoa(o.Want)
		if o.Verified {
			have = r.Verified
			want += " verified"
		}
		if have < o.Want {
			c = red
		}
		text += ", " + want
	}
	if len(r.expected) == 0 && r.Ready < r.Registered {
		c = yellow
	}
	return strings.TrimPrefix(text, ", "), c
}

func writeEndpoints(b *strings.Builder, rows []endpointRow, style Style) {
	t := table{style: style}
	heads := []string{"ENDPOINT", "+READY", "+REGISTERED", "+EXPECTED"}
	if style.Wide {
		heads = append(heads, "+VERIFIED", "+UNREGISTERED")
	}
	t.heads(heads...)
	for _, r := range rows {
		expectedCell, c := r.expectedCell()
		cells := []cell{{plain.Text(r.Name, maxName), noColour}, {strconv.Itoa(r.Ready), c}, {strconv.Itoa(r.Registered), noColour}, {expectedCell, noColour}}
		if style.Wide {
			cells = append(cells, cell{strconv.Itoa(r.Verified), noColour}, cell{strconv.Itoa(r.Unregistered), noColour})
		}
		t.row(cells...)
	}
	t.write(b)
}
