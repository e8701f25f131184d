package frontend

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// listing is what is registered, and the answer that says so. Pages that differ in state only share one.
type listing struct {
	chunks    []*chunk // sorted
	instances int
	endpoints []endpointCount // sorted by namespace, component, name
	head      []byte          // the answer up to the instances
	document
}

const (
	emptyBody   = `{"endpoints":[],"instances":[],"message":"No endpoints available","status":"healthy"}`
	bodyNames   = `{"endpoints":`
	bodyRecords = `,"instances":[`
	bodyEnd     = `],"status":"healthy"}`
)

// newListing renders chunks, which must be sorted and not change any more. What previous holds is used again where it
// still fits; previous may be nil.
func newListing(chunks []*chunk, previous *listing) *listing {
	l := &listing{chunks: chunks}
	if previous != nil {
		l.endpoints = make([]endpointCount, 0, len(previous.endpoints)+1)
	}
	if len(chunks) == 0 {
		l.plain = newBody([][]byte{[]byte(emptyBody)}, tag(0, 0))
		return l
	}
	var sum uint64
	for _, c := range chunks {
		l.instances += len(c.records)
		sum += c.sum
		for _, e := range c.endpoints {
			l.endpoints = count(l.endpoints, e)
		}
	}
	l.head = headOf(l.endpoints, previous)
	segments := make([][]byte, 0, len(chunks)+2)
	segments = append(segments, l.head)
	segments = append(appendRecords(segments, chunks), []byte(bodyEnd))
	if len(chunks) == 1 {
		segments = [][]byte{slices.Concat(segments...)} // so little is sooner copied than sent in three parts
	}
	l.plain = newBody(segments, tag(sum, l.instances))
	return l
}

// apply returns the listing after changes, sorted and unique: l itself if they change nothing.
func (l *listing) apply(changes []change) *listing {
	chunks, changed := splice(l.chunks, changes, chunkSize)
	if !changed {
		return l
	}
	return newListing(chunks, l)
}

// tag names a listing by the sum of its records' hashes and their number. A listing is a set whose order is given, so
// this names the bytes too, and all frontends that know the same instances answer with the same tag, whatever they went
// through. What stands around the records is hashed with them, so that a release that changes it changes the tags.
func tag(sum uint64, instances int) string {
	b := []byte(emptyBody + bodyNames + bodyRecords + bodyEnd)
	b = binary.BigEndian.AppendUint64(b, sum)
	b = binary.BigEndian.AppendUint64(b, uint64(instances))
	return fmt.Sprintf("\"%016x\"", xxhash.Sum64(b))
}

// headOf renders what comes before the instances: the endpoints' names, sorted as strings and unique. (Their order by
// parts is another one: "a-b.x" sorts before "a.x" as a string. And odd foreign names can share a name: a.b/c and a/b.c.)
func headOf(endpoints []endpointCount, previous *listing) []byte {
	sameEndpoint := func(a, b endpointCount) bool { return a.endpoint == b.endpoint }
	if previous != nil && slices.EqualFunc(endpoints, previous.endpoints, sameEndpoint) {
		return previous.head
	}
	names := make([]string, len(endpoints))
	for i, e := range endpoints {
		names[i] = e.name
	}
	slices.SortFunc(names, strings.Compare)
	names = slices.Compact(names)

	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // a name is listed as it is; HTML is not what is being written
	if err := enc.Encode(names); err != nil {
		panic(err) // unreachable: a slice of strings always encodes
	}
	return slices.Concat([]byte(bodyNames), bytes.TrimSuffix(b.Bytes(), []byte("\n")), []byte(bodyRecords))
}
