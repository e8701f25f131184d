package snapshot

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// healthChunk is the most instances of a chunk of /health. A change costs a copy of one chunk and
// of the list of chunks; at 256 they weigh about the same for 100,000 instances (BenchmarkChange),
// and sending notices nothing of it.
const healthChunk = 256

// Health is what is registered, as /health shows it. It never changes, but for its compressed form.
type Health struct {
	Response
	Instances  int
	Endpoints  []EndpointCount // by namespace, component, name
	Renderings uint64          // of this answer, until now

	list list[healthKey, struct{}]
	head []byte // the answer up to the instances
	sum  uint64 // of the instances' hashes, wrapping
}

// EndpointCount says how many instances of an endpoint are registered.
type EndpointCount struct {
	Name      string
	Instances int

	endpoint *endpoint
}

// healthKey orders instances as /health lists them: by namespace, component, endpoint and ID.
type healthKey struct {
	endpoint *endpoint
	id       dynmesh.InstanceID
}

func (k healthKey) compare(o healthKey) int {
	if k.endpoint != o.endpoint {
		if c := k.endpoint.Compare(o.endpoint.Endpoint); c != 0 {
			return c
		}
	}
	return cmp.Compare(k.id, o.id)
}

// hash sums up an instance. The endpoint's true name is in it: in JSON, names that are not UTF-8
// can look alike, and which of two instances comes first would then not show in a sum of hashes.
func (k healthKey) hash(json []byte) uint64 {
	h := xxhash.NewWithSeed(k.endpoint.hash)
	_, _ = h.Write(json) // never fails
	return h.Sum64()
}

const (
	emptyHealth     = `{"endpoints":[],"instances":[],"message":"No endpoints available","status":"healthy"}`
	healthNames     = `{"endpoints":`
	healthInstances = `,"instances":[`
	healthEnd       = `],"status":"healthy"}`
)

// healthRenderer makes one Health of another.
type healthRenderer struct {
	batch   batch[healthKey, struct{}]
	lineage Lineage
}

// first returns the Health of an empty registry.
func (r *healthRenderer) first() *Health { return r.finish(&Health{}, 0) }

// render returns h after the batch: h itself if that changes nothing.
func (r *healthRenderer) render(h *Health, version uint64) *Health {
	next := &Health{Endpoints: h.Endpoints, Renderings: h.Renderings + 1, head: h.head, sum: h.sum}
	counts := map[*endpoint]int{} // how many more there are
	list, replaced, changed := r.batch.applyTo(h.list, healthChunk, func(k healthKey, was, is []byte) {
		if was != nil {
			next.sum -= k.hash(was)
			counts[k.endpoint]--
		}
		if is != nil {
			next.sum += k.hash(is)
			counts[k.endpoint]++
		}
	})
	if !changed {
		return h
	}
	next.list, next.Instances = list, list.len
	if next.count(counts) || list.len == 0 || h.list.len == 0 {
		replaced += len(h.head)
		next.head = healthHead(next.Endpoints)
	}
	r.lineage.Replace(replaced)
	return r.finish(next, version)
}

// finish adds the answer.
func (r *healthRenderer) finish(h *Health, version uint64) *Health {
	tag := healthTag(h.sum, h.Instances)
	if h.Instances == 0 {
		h.Identity = NewRepresentation(&r.lineage, version, tag, []byte(emptyHealth))
		return h
	}
	buffers := make([][]byte, 0, len(h.list.chunks)+2)
	buffers = append(buffers, h.head)
	buffers = append(h.list.appendJSON(buffers), []byte(healthEnd))
	h.Identity = NewRepresentation(&r.lineage, version, tag, buffers...)
	return h
}

// count adds to the number of instances of endpoints, and says whether the endpoints are others
// now.
func (h *Health) count(more map[*endpoint]int) (others bool) {
	byParts := func(c EndpointCount, e *endpoint) int { return c.endpoint.Compare(e.Endpoint) }
	h.Endpoints = slices.Clone(h.Endpoints)
	var added []EndpointCount
	for e, n := range more {
		if at, found := slices.BinarySearchFunc(h.Endpoints, e, byParts); found {
			h.Endpoints[at].Instances += n
		} else if n != 0 {
			added = append(added, EndpointCount{e.name, n, e})
		}
	}
	if others = len(added) > 0; others {
		h.Endpoints = append(h.Endpoints, added...)
		slices.SortFunc(h.Endpoints, func(a, b EndpointCount) int { return byParts(a, b.endpoint) })
	}
	empty := func(c EndpointCount) bool { return c.Instances == 0 }
	if slices.ContainsFunc(h.Endpoints, empty) {
		h.Endpoints = slices.DeleteFunc(h.Endpoints, empty)
		others = true
	}
	return others
}

// healthTag names an answer by the sum of its instances' hashes and their number. /health lists a
// set in a given order, so this names the bytes too, and all frontends that know the same instances
// answer with the same tag, whatever they went through. What stands around the instances is hashed
// with them, so that a release that changes it changes the tags.
func healthTag(sum uint64, instances int) string {
	b := []byte(emptyHealth + healthNames + healthInstances + healthEnd)
	b = binary.BigEndian.AppendUint64(b, sum)
	b = binary.BigEndian.AppendUint64(b, uint64(instances))
	return fmt.Sprintf("\"%016x\"", xxhash.Sum64(b))
}

// healthHead renders what comes before the instances: the endpoints' names, sorted as strings and
// unique. (Their order by parts is another one: "a-b.x" sorts before "a.x" as a string. And odd
// foreign names can share a name: a.b/c and a/b.c.)
func healthHead(endpoints []EndpointCount) []byte {
	names := make([]string, len(endpoints))
	for i, e := range endpoints {
		names[i] = e.Name
	}
	slices.SortFunc(names, strings.Compare)
	return slices.Concat([]byte(healthNames), text.JSON(slices.Compact(names)), []byte(healthInstances))
}
