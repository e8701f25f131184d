package snapshot

import (
	"bytes"
	"strings"

	"github.com/dynmesh/dynmesh/internal/text"
)

// delta is what makes one Mesh of another. It compares what the two do not share, so that it needs
// to know nothing of the versions between them, and what changed and changed back is not in it.
type delta struct {
	endpoints     []*Endpoint // of which something around the instances has changed
	endpointsGone []string
	changed       []instance // that are new or different, in order
	removed       []instance

	members     []entry[instanceKey, struct{}]
	membersGone []entry[instanceKey, struct{}]
	warnings    bool // are others
}

// instance is an entry of an endpoint.
type instance struct {
	endpoint *Endpoint
	entry[instanceKey, Status]
}

// Delta renders what makes now of old: docs/events.md says what it means.
func Delta(old, now *Mesh) []byte { return compare(old, now).appendJSON(nil, now) }

func compare(old, now *Mesh) delta {
	d := delta{warnings: !bytes.Equal(old.warnings, now.warnings)}
	d.members, d.membersGone = diff(old.members, now.members)
	was, is := old.Endpoints, now.Endpoints
	for len(was) > 0 || len(is) > 0 {
		var before, after *Endpoint
		switch c := compareFirst(was, is); {
		case c < 0:
			before, was = was[0], was[1:]
			d.endpointsGone = append(d.endpointsGone, before.Name)
		case c > 0:
			after, is = is[0], is[1:]
		default:
			before, was, after, is = was[0], was[1:], is[0], is[1:]
		}
		d.compare(before, after)
	}
	return d
}

// compareFirst says which of the two begins with what sorts first: negative for a.
func compareFirst(a, b []*Endpoint) int {
	switch {
	case len(b) == 0:
		return -1
	case len(a) == 0:
		return +1
	}
	return a[0].endpoint.Compare(b[0].endpoint.Endpoint)
}

// compare adds how one endpoint has changed; nil stands for none.
func (d *delta) compare(before, after *Endpoint) {
	if before == after {
		return
	}
	var was, is list[instanceKey, Status]
	if before != nil {
		was = before.instances
	}
	if after != nil {
		is = after.instances
		if before == nil || !bytes.Equal(before.head, after.head) {
			d.endpoints = append(d.endpoints, after)
		}
	}
	changed, gone := diff(was, is)
	for _, e := range changed {
		d.changed = append(d.changed, instance{after, e})
	}
	for _, e := range gone {
		named := before
		if named == nil {
			named = after
		}
		d.removed = append(d.removed, instance{named, e})
	}
}

// appendJSON renders the delta that leads to now.
func (d delta) appendJSON(b []byte, now *Mesh) []byte {
	b = append(b, now.head...) // up to the endpoints
	each := func(n int, element func(int)) {
		for i := range n {
			if i > 0 {
				b = append(b, ',')
			}
			element(i)
		}
	}
	name := func(i instance) {
		b = append(append(append(b, `{"endpoint":`...), text.JSON(i.endpoint.Name)...), ',')
	}
	each(len(d.endpoints), func(i int) {
		b = append(append(b, strings.TrimSuffix(string(d.endpoints[i].head), endpointInstances)...), '}')
	})
	b = append(b, `],"instances":[`...)
	each(len(d.changed), func(i int) {
		name(d.changed[i])
		b = append(b, bytes.TrimPrefix(d.changed[i].json, []byte("{"))...)
	})
	b = append(b, `],"gone":[`...)
	each(len(d.removed), func(i int) {
		name(d.removed[i])
		b = append(append(append(b, `"id":"`...), d.removed[i].key.String()...), `"}`...)
	})
	b = append(b, ']')
	if len(d.endpointsGone) > 0 {
		b = append(append(b, `,"endpoints_gone":`...), text.JSON(d.endpointsGone)...)
	}
	if len(d.members) > 0 {
		b = append(b, `,"members":[`...)
		each(len(d.members), func(i int) { b = append(b, d.members[i].json...) })
		b = append(b, ']')
	}
	if len(d.membersGone) > 0 {
		b = append(b, `,"members_gone":[`...)
		each(len(d.membersGone), func(i int) { b = append(append(append(b, '"'), d.membersGone[i].key.String()...), '"') })
		b = append(b, ']')
	}
	if d.warnings {
		b = append(append(b, `,"warnings":`...), now.warnings...)
	}
	return append(b, '}')
}
