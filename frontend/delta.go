package frontend

import (
	"bytes"
	"slices"
	"strings"
)

// delta is what makes one view of another.
type delta struct {
	parts     []*part   // of which something around the instances has changed
	partsGone []string  // names of endpoints
	changed   []*record // instances that are new or different, in order
	gone      []*record

	members     []*record
	membersGone []*record
	warnings    bool // are others
}

// compareViews returns what makes now of old. Its cost is that of the chunks that the two do not share.
func compareViews(old, now *view) delta {
	d := delta{warnings: !bytes.Equal(old.warnings, now.warnings)}
	d.members, d.membersGone = compareChunks(old.members, now.members)
	was, is := old.parts, now.parts
	for len(was) > 0 || len(is) > 0 {
		var before, after *part
		switch c := compareParts(was, is); {
		case c < 0:
			before, was = was[0], was[1:]
			d.partsGone = append(d.partsGone, before.name)
		case c > 0:
			after, is = is[0], is[1:]
		default:
			before, was, after, is = was[0], was[1:], is[0], is[1:]
		}
		d.compare(before, after)
	}
	return d
}

// compareParts says which of the two begins with what sorts first: negative for the first.
func compareParts(a, b []*part) int {
	switch {
	case len(b) == 0:
		return -1
	case len(a) == 0:
		return +1
	}
	return a[0].Compare(b[0].Endpoint)
}

// compare adds how one endpoint has changed; nil stands for none.
func (d *delta) compare(before, after *part) {
	if before == after {
		return
	}
	var was, is []*chunk
	if before != nil {
		was = before.chunks
	}
	if after != nil {
		is = after.chunks
		if before == nil || !bytes.Equal(before.head, after.head) {
			d.parts = append(d.parts, after)
		}
	}
	changed, gone := compareChunks(was, is)
	d.changed, d.gone = append(d.changed, changed...), append(d.gone, gone...)
}

// compareChunks returns the records of now that old has not, and those of old whose instances now has not.
func compareChunks(old, now []*chunk) (changed, gone []*record) {
	was, is := recordsBut(old, now), recordsBut(now, old)
	for len(was) > 0 || len(is) > 0 {
		var c int
		switch {
		case len(is) == 0:
			c = -1
		case len(was) == 0:
			c = +1
		default:
			c = was[0].compare(is[0])
		}
		switch {
		case c < 0:
			gone, was = append(gone, was[0]), was[1:]
		case c > 0:
			changed, is = append(changed, is[0]), is[1:]
		default:
			if !bytes.Equal(was[0].json, is[0].json) {
				changed = append(changed, is[0])
			}
			was, is = was[1:], is[1:]
		}
	}
	return changed, gone
}

// recordsBut returns the records of those chunks that are not among the others, in order.
func recordsBut(chunks, others []*chunk) []*record {
	shared := make(map[*chunk]struct{}, len(others))
	for _, c := range others {
		shared[c] = struct{}{}
	}
	var records []*record
	for _, c := range chunks {
		if _, both := shared[c]; !both {
			records = append(records, c.records...)
		}
	}
	return records
}

// json renders the delta that leads to now: docs/events.md says what it means.
func (d delta) json(now *view) []byte {
	b := slices.Clone(now.head) // up to the endpoints
	list := func(n int, item func(int)) {
		for i := range n {
			if i > 0 {
				b = append(b, ',')
			}
			item(i)
		}
	}
	list(len(d.parts), func(i int) { b = append(append(b, strings.TrimSuffix(string(d.parts[i].head), partRecords)...), '}') })
	b = append(b, `],"instances":[`...)
	list(len(d.changed), func(i int) {
		b = append(append(b, `{"endpoint":`...), encoded(d.changed[i].endpoint.name)...)
		b = append(append(b, ','), bytes.TrimPrefix(d.changed[i].json, []byte("{"))...)
	})
	b = append(b, `],"gone":[`...)
	list(len(d.gone), func(i int) {
		b = append(append(b, `{"endpoint":`...), encoded(d.gone[i].endpoint.name)...)
		b = append(append(append(b, `,"id":"`...), d.gone[i].id.String()...), `"}`...)
	})
	b = append(b, ']')
	if len(d.partsGone) > 0 {
		b = append(append(b, `,"endpoints_gone":`...), encoded(d.partsGone)...)
	}
	if len(d.members) > 0 {
		b = append(b, `,"members":[`...)
		list(len(d.members), func(i int) { b = append(b, d.members[i].json...) })
		b = append(b, ']')
	}
	if len(d.membersGone) > 0 {
		b = append(b, `,"members_gone":[`...)
		list(len(d.membersGone), func(i int) { b = append(append(append(b, '"'), d.membersGone[i].id.String()...), '"') })
		b = append(b, ']')
	}
	if d.warnings {
		b = append(append(b, `,"warnings":`...), now.warnings...)
	}
	return append(b, '}')
}
