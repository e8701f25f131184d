package console

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/plain"
)

// Explain renders what is known of one instance: its verdict, why, and the evidence from the oldest
// to the newest. m is the whole mesh, which says who the observers are; now is the frontend's.
func Explain(m *client.Mesh, f Found, now time.Time, style Style) string {
	var b strings.Builder
	is := "is"
	if !m.At.IsZero() {
		is = "was, at " + formatTime(m.At.Time) + ","
	}
	fmt.Fprintf(&b, "%s of %s %s %s\n\n", style.paint(bold, f.ID.String()), plain.Text(f.Endpoint, maxName), is, style.paint(colourOf(f.Instance), verdict(f.Instance, true)))
	fmt.Fprintf(&b, "since     %s (%s)", formatTime(f.Since.Time), age(f.Since.Time, now))
	if f.Flaps > 0 {
		fmt.Fprintf(&b, "; its verdict changed %s lately", times(f.Flaps))
	}
	fmt.Fprintf(&b, "\nworker    %s\n", withAges(workerLine(f.Worker), now))
	for _, model := range f.Models {
		fmt.Fprintf(&b, "serves    %s\n", describeModel(model))
	}
	for _, e := range m.Endpoints {
		for _, i := range e.Instances {
			if i.ID == f.ID && i.Auxiliary && e.Name != f.Endpoint {
				fmt.Fprintf(&b, "also      %s, %s\n", plain.Text(e.Name, maxName), verdict(i, false))
			}
		}
	}
	if f.Pod != nil {
		fmt.Fprintf(&b, "pod       %s\n", podLine(*f.Pod))
	}
	if w := f.Withdrawn; w != nil {
		line := fmt.Sprintf("withdrawn from Dynamo by %s since %s (%s): %s", plain.Text(w.By, maxName), formatTime(w.Since.Time), age(w.Since.Time, now), plain.Text(w.Reason, maxReason))
		fmt.Fprintf(&b, "etcd      %s\n", style.paint(yellow, line))
	}
	if state := m.Discovery.State.String(); state != "synced" {
		fmt.Fprintf(&b, "registry  %s\n", style.paint(yellow, withAges(state+" since "+formatTime(m.Discovery.Since.Time), now)))
	}

	b.WriteString("\nwhy\n")
	for _, r := range reasons(f.Instance, true) {
		fmt.Fprintf(&b, "  - %s\n", withAges(plain.Text(r, maxReason), now))
	}
	for _, c := range m.Causes {
		if c.Name == f.Cause {
			fmt.Fprintf(&b, "  - it fails together with others: %s\n", style.paint(red, causeLine(c, now)))
		}
	}
	writeOutputs(&b, m, f, now)
	b.WriteString("\nevidence, the oldest first\n")
	t := table{style: style, right: []bool{false, true, false}}
	for _, e := range evidence(m, f) {
		t.row(cell{"  " + formatTime(e.at), dim}, cell{age(e.at, now), noColour}, cell{e.text, e.colour})
	}
	if len(t.rows) == 0 {
		b.WriteString("  none: nobody has observed it\n")
	}
	t.write(&b)
	return b.String()
}

// describeModel names a model and the role of the workers that serve it so.
func describeModel(m mesh.Model) string {
	name := plain.Text(m.Name, maxName)
	if m.WorkerType != "" {
		name += " (" + plain.Text(m.WorkerType, maxName) + ")"
	}
	return name
}

// writeOutputs says what routers were told of an instance.
func writeOutputs(b *strings.Builder, m *client.Mesh, f Found, now time.Time) {
	if len(m.Outputs) == 0 {
		return
	}
	b.WriteString("\noutputs\n")
	for _, head := range m.Outputs {
		name, some := plain.Text(head.Name, maxName), false
		for _, o := range f.Outputs {
			if o.Name == head.Name {
				fmt.Fprintf(b, "  - %s: %s\n", name, describeOutput(o, now))
				some = true
			}
		}
		if !some {
			fmt.Fprintf(b, "  - %s: nobody was told of it\n", name)
		}
		if head.Frozen != "" {
			fmt.Fprintf(b, "    nothing changes now: %s\n", plain.Text(head.Frozen, maxReason))
		}
		if head.Leads != nil && !*head.Leads {
			b.WriteString("    another frontend does what is decided\n")
		}
		fmt.Fprintf(b, "    without dynmesh: %s\n", plain.Text(head.WhenGone, maxReason))
	}
}

// describeOutput says what an output told routers.
func describeOutput(o mesh.Output, now time.Time) string {
	did := "has it"
	if o.DryRun {
		did = "would have it (this is a dry run)"
	}
	text := fmt.Sprintf("for %s %s %s since %s (%s)", plain.Text(o.Target, maxName), did, plain.Text(o.State, 20), formatTime(o.Since.Time), age(o.Since.Time, now))
	if o.Held {
		text += ", because of the floor"
	}
	if o.Reason != "" {
		text += ": " + withAges(plain.Text(o.Reason, maxReason), now)
	}
	if o.Next != "" {
		text += "; next: " + withAges(plain.Text(o.Next, maxReason), now)
	}
	if o.Error != "" {
		text += "; it cannot tell what is decided now: " + plain.Text(o.Error, maxReason)
	}
	return text
}

// event is a line of the story.
type event struct {
	at     time.Time
	text   string
	colour colour
}

// evidence puts observations and changes of the verdict in order. What was observed at the moment
// of a change stands before it.
func evidence(m *client.Mesh, f Found) []event {
	var all []event
	known := observerNames(m)
	for _, o := range f.Observations {
		by, ok := known[o.Observer]
		if !ok {
			by = plain.Text(o.Observer, 20)
		}
		e := event{at: o.At.Time, text: describeObservation(o, by)}
		switch {
		case !o.Counts:
			e.colour = dim
		case o.Finding == "fail" || o.Finding == "stalled":
			e.colour = red
		}
		all = append(all, e)
	}
	decided := reasons(f.Instance, true)[0]
	for _, c := range f.Changes {
		all = append(all, event{at: c.At.Time, text: describeChange(c, decided), colour: bold})
	}
	slices.SortStableFunc(all, func(a, b event) int { return a.at.Compare(b.at) })
	return all
}

// observerNames says who has which ID, for people.
func observerNames(m *client.Mesh) map[string]string {
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

// podLine says what Kubernetes thinks of the instance.
func podLine(p mesh.Pod) string {
	text := plain.Text(p.Name, maxName)
	if p.Node != "" {
		text += " on " + plain.Text(p.Node, maxName)
	}
	switch {
	case p.Terminating:
		return text + ", which Kubernetes is ending"
	case !p.Ready:
		return text + ", not ready by Kubernetes"
	}
	return text + ", ready by Kubernetes"
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
		parts = append(parts, "started at "+formatTime(w.StartedAt.Time))
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

// describeObservation says what an observation means. by is who made it, for people.
func describeObservation(o mesh.Observation, by string) string {
	text := describeFinding(o, by)
	if o.Ready != nil {
		switch good := o.Finding == "pass" || o.Finding == "busy" || o.Finding == "unchecked"; {
		case *o.Ready && !good:
			text += "; its worker counts it as ready all the same"
		case !*o.Ready && good:
			text += "; its worker does not count it as ready"
		}
	}
	switch {
	case o.Counts:
	case o.Kind == "path", o.Kind == "system", o.Kind == "pinned":
		text += " (does not count: whoever found it is gone, or it is about an earlier life of the worker)"
	default: // its worker's own word
		text += " (does not count: its worker is gone, or has begun a new life)"
	}
	return text
}

// describeFinding says what was found. A finding stands until its observer says something else, so
// its time is when it began to be so, and how often it was found again is not told. One that does
// not count stands no more.
func describeFinding(o mesh.Observation, by string) string {
	failed, took := describeReason(o), ""
	have, reached, missed, then := "have ", " has reached it", " has not reached it", " since then"
	if !o.Counts {
		have, reached, missed, then = "", " reached it", " did not reach it", ""
	}
	if o.LatencySeconds > 0 {
		took = "; the first time took " + time.Duration(o.LatencySeconds*float64(time.Second)).Round(10*time.Microsecond).String()
	}
	switch o.Kind + " " + string(o.Finding) {
	case "canary pass":
		return "its own canaries " + have + "passed" + then + took
	case "canary fail", "traffic fail":
		return "its own canaries " + have + "failed" + then + ": " + failed
	case "pinned pass":
		return "canaries of " + by + ", pinned to it, " + have + "passed" + then + took
	case "pinned fail":
		return "canaries of " + by + ", pinned to it, " + have + "failed" + then + ": " + failed
	case "canary unchecked", "traffic unchecked":
		if o.Detail != "" {
			return "it is served, and gets no canary" + withDetail(o.Detail)
		}
		return "it is served, and nothing has checked it yet"
	case "canary busy", "traffic busy", "traffic pass":
		return "real requests " + have + "moved or completed at it" + then + ", so no canary is due"
	case "canary stalled", "traffic stalled":
		return "requests are in flight at it, and nothing has moved for too long" + withDetail(o.Detail)
	case "path pass":
		return by + reached + " over the network" + then + took
	case "path fail":
		return by + missed + " over the network" + then + ": " + failed
	case "system pass":
		said := by + reached + ", and its system port answers" + then + withDetail(o.Detail)
		if o.Draining {
			said += "; it says that it takes no new requests"
		}
		return said
	case "system fail":
		return by + " asked its system port" + then + ": " + failed
	case "process pass":
		return "its process announced that it is shutting down, and takes no new requests" // what else it says of itself is not shown
	}
	return fmt.Sprintf("%s found by %s: %s", plain.Text(o.Kind, 40), plain.Text(o.Finding, 40), by)
}

// describeReason says the reason in the word by which metrics and logs know it, and then the
// detail, or else what the word means.
func describeReason(o mesh.Observation) string {
	if o.Reason == "" {
		return "no reason given" + withDetail(o.Detail)
	}
	meaning := o.Detail
	if meaning == "" {
		meaning = map[dynmesh.Reason]string{
			"timeout":     "no answer in time",
			"frozen":      "the answer began, then nothing came",
			"refused":     "nothing listens there",
			"unreachable": "no connection",
			"status":      "an error status",
			"error_chunk": "an error within the answer",
			"empty":       "an empty answer",
			"malformed":   "an answer that makes no sense",
			"oversized":   "an answer without end",
			"cut":         "the connection broke",
			"busy":        "refused for want of room",
			"unexpected":  "an answer without what must be in it",
			"asleep":      "the engine sleeps",
			"dead":        "the engine says that it is dead",
		}[o.Reason]
	}
	return plain.Text(o.Reason, 40) + withDetail(meaning)
}

func withDetail(detail string) string {
	if detail == "" {
		return ""
	}
	return ": " + plain.Text(detail, maxReason)
}

// describeChange says what a change of the verdict was; where there was none, what is remarked on
// the instance since then. decided is the reason that decides now: it stands above already.
func describeChange(c mesh.Change, decided string) string {
	from, to := plain.Text(c.From, 20), plain.Text(c.To, 20)
	if c.From == c.To {
		if c.Reason == "" {
			return remarkEnded
		}
		return "remark: " + plain.Text(c.Reason, maxReason)
	}
	text := "verdict: " + to
	if from != "" {
		text = "verdict: from " + from + " to " + to
	}
	switch c.Reason {
	case "":
		return text
	case decided:
		return text + ", for the first reason above"
	}
	return text + ", because " + plain.Text(c.Reason, maxReason)
}
