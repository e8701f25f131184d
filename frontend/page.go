package frontend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/dynmesh/dynmesh/discovery"
)

// page is the whole state that requests and scrapes see. It is immutable but for the gzip form, which is added once.
type page struct {
	version uint64 // counts the pages of this process; a page with a higher one is newer
	state   discovery.State
	since   time.Time // when state began; for Stale, when etcd was last heard
	*listing
}

// listing is what is registered, and the answer that says so. Pages that differ in state only share one.
type listing struct {
	records   []*record       // sorted
	endpoints []endpointCount // sorted by namespace, component, name
	names     []byte          // rendered array of the endpoints' names
	plain     *body
	gzip      atomic.Pointer[body] // nil until it is compressed, and for ever when that is not worth it
}

type endpointCount struct {
	*endpoint
	instances int
}

// body is an answer in one encoding. It stands alone, so that a slow client that still reads it pins nothing else.
type body struct {
	bytes    []byte
	etag     string
	encoding string // Content-Encoding; empty for identity
	serial   uint64 // counts the listings of this process; both forms of one listing have the same
}

// discoveryHeader is the value of X-Dynmesh-Discovery.
func (p *page) discoveryHeader(now time.Time) string {
	if p.state != discovery.Stale {
		return p.state.String()
	}
	age := max(0, now.Sub(p.since).Seconds())
	return "stale; age=" + strconv.FormatFloat(age, 'f', 1, 64) + "s"
}

const (
	emptyBody   = `{"endpoints":[],"instances":[],"message":"No endpoints available","status":"healthy"}`
	bodyNames   = `{"endpoints":`
	bodyRecords = `,"instances":[`
	bodyEnd     = `],"status":"healthy"}`
)

// newListing renders records, which must be sorted and not change any more. What previous holds is used again where it
// still fits; previous may be nil.
func newListing(records []*record, previous *listing) *listing {
	l := &listing{records: records}
	var serial uint64
	if previous != nil {
		serial = previous.plain.serial + 1
	}
	if len(records) == 0 {
		l.plain = newBody([]byte(emptyBody), serial)
		return l
	}
	size := 0
	for _, r := range records {
		last := len(l.endpoints) - 1
		// Equal endpoints are one pointer, because the registry keeps them unique.
		if last < 0 || l.endpoints[last].endpoint != r.endpoint {
			l.endpoints = append(l.endpoints, endpointCount{endpoint: r.endpoint})
			last++
		}
		l.endpoints[last].instances++
		size += len(r.json) + len(",")
	}
	l.names = namesOf(l.endpoints, previous)
	b := make([]byte, 0, len(bodyNames)+len(l.names)+len(bodyRecords)+size+len(bodyEnd))
	b = append(b, bodyNames...)
	b = append(b, l.names...)
	b = append(b, bodyRecords...)
	for _, r := range records {
		b = append(b, r.json...)
		b = append(b, ',')
	}
	b = append(b[:len(b)-len(",")], bodyEnd...)
	l.plain = newBody(b, serial)
	return l
}

func newBody(b []byte, serial uint64) *body {
	return &body{bytes: b, etag: fmt.Sprintf("\"%016x\"", xxhash.Sum64(b)), serial: serial}
}

// namesOf renders the endpoints' names, sorted as strings and unique. (Their order by parts is another one: "a-b.x" sorts
// before "a.x" as a string. And odd foreign names can share a name: a.b/c and a/b.c.)
func namesOf(endpoints []endpointCount, previous *listing) []byte {
	sameEndpoint := func(a, b endpointCount) bool { return a.endpoint == b.endpoint }
	if previous != nil && slices.EqualFunc(endpoints, previous.endpoints, sameEndpoint) {
		return previous.names
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
	return bytes.Clone(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}
