package frontend

import (
	"fmt"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
)

// viewChunkSize is the most instances or members of a chunk of a view. Their parts of the answer are large (1 kB), so a
// change should copy few of them.
const viewChunkSize = 64

// smallPart is the size in bytes up to which an endpoint's part of the answer is one segment: so little is sooner copied
// than sent in three.
const smallPart = 4 << 10

// view is the mesh as /mesh shows it, rendered. It never changes, but for its gzip form.
type view struct {
	document
	version uint64
	head    []byte  // the answer up to the endpoints
	parts   []*part // by endpoint
	tail    []byte  // what follows the members, or the endpoints when not all are asked for

	members  []*chunk
	warnings []byte // a JSON array
	doubts   int    // how many warnings there are
	ready    *readiness
	targets  *body // for Prometheus
	met      bool  // and these are all of them: the members have been read
}

// part is one endpoint's part of the answer. It never changes, so that views share those in which nothing has changed.
type part struct {
	*endpoint
	counts   counts
	expected *int
	head     []byte // up to the instances
	chunks   []*chunk
	segments [][]byte // all of it, with a comma before it
}

const (
	viewEndpoints = `,"endpoints":[`
	viewMembers   = `],"members":[`
	viewWarnings  = `],"warnings":`
	viewEnd       = `}`
	partRecords   = `,"instances":[`
	partEnd       = `]}`
)

// splice applies the changes of g, and says whether they changed anything.
func (g *group) splice(size int) bool {
	chunks, changed := splice(g.chunks, latest(g.changes), size)
	g.changes = forget(g.changes)
	if changed {
		g.chunks = chunks
		g.part = nil
	}
	return changed
}

// render makes the view of what settle concluded last.
func (m *mesh) render(version, serial uint64, now time.Time) *view {
	m.outdated = false
	warnings := m.warnings()
	v := &view{version: version, members: m.members.chunks, warnings: encoded(warnings), doubts: len(warnings), met: m.met}
	v.head = opened(m.head(version, now), viewEndpoints)
	v.tail = slices.Concat([]byte(viewWarnings), v.warnings, []byte(viewEnd))

	segments := make([][]byte, 0, len(m.order)+len(m.members.chunks)+8)
	segments = append(segments, v.head)
	var awaited []*part
	for _, g := range m.order {
		if len(g.chunks) == 0 && g.expected == nil {
			continue
		}
		if g.part == nil {
			g.part = newPart(g)
		}
		v.parts = append(v.parts, g.part)
		if g.awaited {
			awaited = append(awaited, g.part)
		}
		segments = append(segments, g.part.segments...)
	}
	if len(v.parts) > 0 {
		segments[1] = segments[1][len(","):] // none before the first endpoint
	}
	segments = append(segments, []byte(viewMembers))
	segments = append(appendRecords(segments, m.members.chunks), v.tail)
	v.ready, v.targets = m.ready(awaited), m.renderTargets(version, serial)
	v.plain = newBody(segments, fmt.Sprintf(`"%s-%d"`, m.epoch, version))
	v.plain.serial = serial
	return v
}

// newPart renders an endpoint that has instances.
func newPart(g *group) *part {
	p := &part{endpoint: g.endpoint, counts: g.counts, expected: g.expected, head: opened(g.head(), partRecords), chunks: g.chunks}
	p.segments = make([][]byte, 0, len(g.chunks)+2)
	p.segments = append(p.segments, slices.Concat([]byte(","), p.head))
	p.segments = append(appendRecords(p.segments, g.chunks), []byte(partEnd))
	size := 0
	for _, s := range p.segments {
		size += len(s)
	}
	if size <= smallPart {
		p.segments = [][]byte{slices.Concat(p.segments...)}
	}
	return p
}

// opened takes the closing brace off a JSON object, so that more can follow.
func opened(object []byte, more string) []byte {
	return append(object[:len(object)-len("}"):len(object)-len("}")], more...)
}

// narrow returns the answer with one endpoint, and of that with one instance if id is not nil: the same document with less
// in it. It is nil if there is none such.
func (v *view) narrow(name string, id *dynmesh.InstanceID) *body {
	segments := [][]byte{v.head}
	for _, p := range v.parts {
		if p.name != name { // odd foreign names can share a name: then there are several
			continue
		}
		if id == nil {
			segments = append(segments, p.segments...)
		} else if r := p.find(*id); r != nil {
			segments = append(segments, slices.Concat([]byte(","), p.head, r.json, []byte(partEnd)))
		}
	}
	if len(segments) == 1 {
		return nil
	}
	segments[1] = segments[1][len(","):]
	segments = append(segments, v.tail)
	b := newBody(segments, v.plain.etag)
	b.serial = v.plain.serial
	return b
}

// find returns an instance's record; nil if there is none.
func (p *part) find(id dynmesh.InstanceID) *record {
	wanted := &record{endpoint: p.endpoint, id: id}
	at, begins := slices.BinarySearchFunc(p.chunks, wanted, (*chunk).compareFirst)
	if !begins {
		at--
	}
	if at < 0 {
		return nil
	}
	records := p.chunks[at].records
	if i, found := slices.BinarySearchFunc(records, wanted, (*record).compare); found {
		return records[i]
	}
	return nil
}
