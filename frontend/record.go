package frontend

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/dynmesh/dynmesh"
)

// endpoint is one endpoint's name, shared by all its records: comparing two instances of one endpoint compares a pointer
// and a number.
type endpoint struct {
	dynmesh.Endpoint
	name string // dyn://…, always valid UTF-8, though foreign names in etcd need not be
	hash uint64 // of the name as it stands in etcd
}

func newEndpoint(e dynmesh.Endpoint) *endpoint {
	// Cloned because the parts may be slices of a much larger answer from etcd, which they would keep alive.
	e.Namespace, e.Component, e.Name = strings.Clone(e.Namespace), strings.Clone(e.Component), strings.Clone(e.Name)
	name := e.String()
	return &endpoint{Endpoint: e, name: strings.ToValidUTF8(name, "\uFFFD"), hash: xxhash.Sum64String(name)}
}

// record is one registered instance with its part of the answer. It never changes once a page may hold it.
type record struct {
	endpoint *endpoint
	id       dynmesh.InstanceID
	json     []byte // of a record in a chunk, a part of the chunk's
	hash     uint64
	standing // in views
}

// standing is what of an instance counts for more than its own part of the answer. It is small, because there may be very
// many.
type standing struct {
	state                uint8 // index in states
	verified, registered bool
}

// states are the verdicts, in the order in which they are counted and shown.
var states = [...]dynmesh.VerdictState{dynmesh.Ready, dynmesh.NotReady, dynmesh.Unreachable, dynmesh.Draining}

func (s standing) verdict() dynmesh.VerdictState { return states[s.state] }

// standing returns what counts of i.
func (i *instance) standing() standing {
	return standing{
		state:    uint8(max(0, slices.Index(states[:], i.verdict.State))),
		verified: i.verdict.Verified, registered: i.registered,
	}
}

// newRecord copies json. The hash covers the endpoint's true name too: in JSON, names that are not UTF-8 can look alike,
// and which of two records comes first would then not show in a sum of their hashes.
func newRecord(e *endpoint, id dynmesh.InstanceID, json []byte) *record {
	hash := xxhash.NewWithSeed(e.hash)
	_, _ = hash.Write(json) // never fails
	return &record{endpoint: e, id: id, json: bytes.Clone(json), hash: hash.Sum64()}
}

// compare orders records as design wants instances listed: namespace, component, endpoint, id.
func (r *record) compare(o *record) int {
	if r.endpoint != o.endpoint {
		if c := r.endpoint.Compare(o.endpoint.Endpoint); c != 0 {
			return c
		}
	}
	return cmp.Compare(r.id, o.id)
}

// change is what an update says about one instance: record is there as it stands, or gone.
type change struct {
	*record
	gone bool
}

// latest sorts changes and keeps, for each instance, the one that came last. It works in place.
func latest(changes []change) []change {
	slices.SortStableFunc(changes, func(a, b change) int { return a.compare(b.record) })
	kept := changes[:0]
	for i, c := range changes {
		if i+1 < len(changes) && c.compare(changes[i+1].record) == 0 {
			continue
		}
		kept = append(kept, c)
	}
	return kept
}

// merge applies changes, sorted and unique, to records, sorted and unique. It returns a new slice, or records itself when
// the changes change nothing. Its cost is one binary search a change and one copy of the pointers: an initial list of
// 100,000 comes as one batch and is not inserted one by one.
func merge(records []*record, changes []change) []*record {
	type edit struct {
		at      int // index in records
		replace bool
		change
	}
	var edits []edit
	size, from := len(records), 0
	for _, c := range changes {
		i, found := slices.BinarySearchFunc(records[from:], c.record, (*record).compare)
		from += i
		switch {
		case c.gone && !found, !c.gone && found && bytes.Equal(records[from].json, c.json):
			continue
		case c.gone:
			size--
		case !found:
			size++
		}
		edits = append(edits, edit{at: from, replace: found, change: c})
	}
	if len(edits) == 0 {
		return records
	}
	merged := make([]*record, 0, size)
	done := 0
	for _, e := range edits {
		merged = append(merged, records[done:e.at]...)
		done = e.at
		if e.replace {
			done++
		}
		if !e.gone {
			merged = append(merged, e.record)
		}
	}
	return append(merged, records[done:]...)
}

func sameSlice(a, b []*record) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
