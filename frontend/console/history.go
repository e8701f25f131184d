package console

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/plain"
	"github.com/dynmesh/dynmesh/internal/text"
)

// ParseSubject reads what a history is wanted of: an instance, as [ParseTarget] does, or an
// endpoint.
func ParseSubject(s string) (Target, error) {
	rest := strings.TrimPrefix(s, "dyn://")
	if !strings.Contains(rest, "/") && strings.Contains(rest, ".") {
		return Target{endpoint: "dyn://" + rest}, nil
	}
	t, err := ParseTarget(s)
	if err != nil {
		err = errors.New("want an endpoint, dyn://namespace.component.endpoint, or an instance: its ID in hex, the beginning of that, or both with a slash between them")
	}
	return t, err
}

// Past narrows a question to the target, as far as a frontend can be asked for it: what comes is to
// be [Target.Meant].
func (t Target) Past(p client.Past) client.Past {
	p.Endpoint = t.endpoint
	// Fewer digits may be the beginning of an ID.
	if id, err := dynmesh.ParseInstanceID(t.id); err == nil && len(t.id) == 16 {
		p.ID = id
	}
	return p
}

// Meant returns the changes that the target means. Instances that are no more cannot be told from
// each other by what is registered now: the beginning of an ID means all that begin so.
func (t Target) Meant(all []mesh.Transition) []mesh.Transition {
	decimal, err := strconv.ParseUint(t.id, 10, 64)
	return slices.DeleteFunc(all, func(x mesh.Transition) bool {
		if x.Cause != nil {
			return t != (Target{}) // it is of no one of them
		}
		id := strings.HasPrefix(x.ID.String(), t.id) || err == nil && x.ID == dynmesh.InstanceID(decimal)
		return t.endpoint != "" && x.Endpoint != t.endpoint || !id
	})
}

// Remembered returns the changes that a frontend without a history still knows, from since on, the
// oldest first.
func Remembered(m *client.Mesh, since, until time.Time) (all []mesh.Transition) {
	for _, e := range m.Endpoints {
		for _, i := range e.Instances {
			for _, c := range i.Changes {
				if c.At.Before(since) || c.At.After(until) {
					continue
				}
				then := map[string]any{"id": i.ID, "verdict": c.To, "reasons": []string{c.Reason}, "worker": i.Worker}
				if c.From == c.To && c.Reason != "" {
					then["remarks"] = []map[string]string{{"text": c.Reason}}
				}
				all = append(all, mesh.Transition{At: c.At, Endpoint: e.Name, ID: i.ID, From: c.From, To: c.To, Instance: text.JSON(then)})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b mesh.Transition) int { return a.At.Compare(b.At.Time) })
	return all
}

// remarkEnded is what is said of an instance on which something was remarked, and is no longer.
const remarkEnded = "nothing is remarked on it any longer"

// History renders changes as a table, or as more of one that has begun.
func History(all []mesh.Transition, now time.Time, begun bool, style Style) string {
	if len(all) == 0 && !begun {
		return "Nothing has changed.\n"
	}
	t := table{style: style, right: []bool{false, true, false, false, false, false}}
	if !begun {
		t.heads("TIME", "+AGE", "INSTANCE", "ENDPOINT", "CHANGE", "WHY")
	}
	for _, x := range all {
		if x.Cause != nil {
			var c mesh.Cause
			_ = json.Unmarshal(x.Cause, &c) // as below
			t.row(cell{formatTime(x.At.Time), dim}, cell{age(x.At.Time, now), noColour}, cell{"", noColour}, cell{plain.Text(c.Name, maxName), noColour},
				cell{way(x), wayColour(x)}, cell{plain.Text(c.Line, maxReason), noColour})
			continue
		}
		var i mesh.Instance
		_ = json.Unmarshal(x.Instance, &i) // what cannot be read is not shown
		name := x.ID.String()
		if i.Worker != nil && i.Worker.Host != "" {
			name += " on " + plain.Text(i.Worker.Host, maxName)
		}
		change, why := cell{way(x), wayColour(x)}, reasons(i, style.Wide)
		switch remarks := remarksOf(i); {
		case x.From != x.To:
		case len(remarks) == 0:
			change, why = cell{"remark ended", green}, []string{remarkEnded}
		default:
			change, why = cell{"remark", yellow}, remarks
		}
		t.row(cell{formatTime(x.At.Time), dim}, cell{age(x.At.Time, now), noColour}, cell{name, noColour}, cell{plain.Text(x.Endpoint, maxName), noColour},
			change, cell{plain.Text(strings.Join(why, "; "), maxReason), noColour})
	}
	var b strings.Builder
	t.write(&b)
	return b.String()
}

// way says how a verdict changed.
func way(x mesh.Transition) string {
	from, to := plain.Text(cmp.Or(x.From, "new"), 20), plain.Text(cmp.Or(x.To, "left"), 20)
	switch {
	case x.Cause != nil && x.To != "":
		return "in common"
	case x.Cause != nil:
		return "no longer in common"
	}
	return from + " → " + to
}

func wayColour(x mesh.Transition) colour {
	switch x.To {
	case mesh.Named:
		return red
	case dynmesh.Ready:
		return green
	case dynmesh.NotReady:
		return yellow
	case dynmesh.Unreachable:
		return red
	case dynmesh.Draining:
		return cyan
	}
	return noColour
}
