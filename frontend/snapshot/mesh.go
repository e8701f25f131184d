package snapshot

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/cause"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// meshChunk is the most instances or members of a chunk of /mesh. Their parts of the answer are
// large (1 kB), so a change should copy few of them.
const meshChunk = 64

// smallEndpoint is the size in bytes up to which an endpoint's part of the answer is one buffer: so
// little is sooner copied than sent in three.
const smallEndpoint = 4 << 10

// Mesh is all that is known, as /mesh shows it. It never changes, but for its compressed form.
type Mesh struct {
	Response
	Version       uint64
	Discovery     dynmesh.SyncState
	Endpoints     []*Endpoint // by namespace, component, name
	Warnings      int
	Causes        []cause.Cause
	MembersSynced bool // what processes tell the registry of themselves has been read: Targets is whole
	Ready         *Readiness
	Models        *Models
	Targets       *Response // for Prometheus

	head     []byte // the answer up to the endpoints
	tail     []byte // what follows the members, or the endpoints when not all are asked for
	warnings []byte // a JSON array
	members  list[instanceKey, struct{}]
}

// Endpoint is one endpoint's part of /mesh. It never changes, so that snapshots share those in
// which nothing has changed.
type Endpoint struct {
	Name     string // dyn://namespace.component.endpoint, always valid UTF-8
	Counts   fleet.Counts
	Expected *int // instances; nil: no expectation is of this endpoint alone

	endpoint  *endpoint
	instances list[instanceKey, Status]
	head      []byte   // up to the instances
	buffers   [][]byte // all of it, with a comma before it
	own       int      // bytes of buffers that are not the chunks'
}

// IsDrill says whether the endpoint is a phantom's.
func (e *Endpoint) IsDrill() bool { return e.endpoint.IsDrill() }

// Instances ranges over the endpoint's instances, by ID.
func (e *Endpoint) Instances() iter.Seq2[dynmesh.InstanceID, Status] {
	return func(yield func(dynmesh.InstanceID, Status) bool) {
		for k, s := range e.instances.all() {
			if !yield(dynmesh.InstanceID(k), s) {
				return
			}
		}
	}
}

// endpoint is an endpoint's name. Equal names are one pointer, so that comparing two instances of
// an endpoint compares a pointer and a number.
type endpoint struct {
	dynmesh.Endpoint
	name string // dyn://…, always valid UTF-8, though foreign names need not be
	hash uint64 // of the name as it is registered
}

func newEndpoint(e *fleet.Endpoint) *endpoint {
	return &endpoint{e.Key(), e.Name(), xxhash.Sum64String(e.Key().String())}
}

// instanceKey orders what is one endpoint's, and processes.
type instanceKey dynmesh.InstanceID

func (k instanceKey) compare(o instanceKey) int { return cmp.Compare(k, o) }

func (k instanceKey) String() string { return dynmesh.InstanceID(k).String() }

const (
	meshEndpoints     = `,"endpoints":[`
	meshMembers       = `],"members":[`
	meshWarnings      = `],"warnings":`
	meshEnd           = `}`
	endpointInstances = `,"instances":[`
	endpointEnd       = `]}`
)

// meshRenderer makes one Mesh of another.
type meshRenderer struct {
	outputs   Outputs
	causes    *cause.Table
	fleet     *fleet.Fleet
	epoch     string // of this process, for tags
	lineage   Lineage
	endpoints map[*fleet.Endpoint]*endpointRenderer
	order     []*endpointRenderer
	unordered bool // order is not what it should be

	members     list[instanceKey, struct{}]
	memberBatch batch[instanceKey, struct{}]
	targets     targetRenderer
	readiness   readinessRenderer
	dirty       bool // the Mesh of now would be another one
}

// endpointRenderer makes one Endpoint of another.
type endpointRenderer struct {
	*endpoint
	fleet     *fleet.Endpoint
	batch     batch[instanceKey, Status]
	instances list[instanceKey, Status]
	rendered  *Endpoint // nil: it is to be rendered
}

// endpoint returns the renderer of an endpoint, a new one where there is none.
func (r *meshRenderer) endpoint(e *fleet.Endpoint) *endpointRenderer {
	s := r.endpoints[e]
	if s == nil {
		s = &endpointRenderer{endpoint: newEndpoint(e), fleet: e}
		r.endpoints[e] = s
		r.unordered = true
	}
	return s
}

// take renders what has changed in the fleet.
func (r *meshRenderer) take(c fleet.Changes, now time.Time) {
	for _, i := range c.Instances {
		e := r.endpoint(i.Endpoint())
		if i.Shown() {
			e.batch.put(instanceKey(i.ID()), statusOf(i.Instance, r.fleet.Remarks(i.Instance)), func(dst []byte) []byte { return append(dst, instanceJSON(r.fleet, i, r.outputs, r.causes, now)...) })
		} else {
			e.batch.remove(instanceKey(i.ID()))
		}
	}
	for _, e := range c.Endpoints {
		r.splice(r.endpoint(e))
		if e.Empty() {
			delete(r.endpoints, e)
			r.unordered = true
		}
	}
	for _, p := range c.Members {
		if m := p.Member(); m != nil {
			unregistered := r.fleet.Unregistered(p)
			r.memberBatch.put(instanceKey(p.ID()), struct{}{}, func(dst []byte) []byte { return append(dst, memberJSON(m, unregistered)...) })
		} else {
			r.memberBatch.remove(instanceKey(p.ID()))
		}
	}
	members, replaced, changed := r.memberBatch.applyTo(r.members, meshChunk, nil)
	r.members = members
	r.lineage.Replace(replaced)
	targeted := r.targets.take(c.Targets)
	r.dirty = r.dirty || changed || targeted || c.Status
}

// splice applies an endpoint's batch.
func (r *meshRenderer) splice(e *endpointRenderer) {
	instances, replaced, changed := e.batch.applyTo(e.instances, meshChunk, nil)
	if !changed && e.rendered != nil && e.rendered.Counts == e.fleet.Counts() {
		return
	}
	if changed {
		r.dirty = true
	}
	e.instances = instances
	if e.rendered != nil {
		replaced += e.rendered.own
		e.rendered = nil
		r.dirty = true
	}
	r.lineage.Replace(replaced)
}

// sort puts the endpoints in order, and forgets those that are gone.
func (r *meshRenderer) sort() {
	if !r.unordered {
		return
	}
	r.unordered = false
	all := r.fleet.Endpoints()
	r.order = make([]*endpointRenderer, 0, len(all))
	for _, e := range all {
		r.order = append(r.order, r.endpoint(e))
	}
	r.unordered = false
}

// render makes the Mesh of what was taken.
func (r *meshRenderer) render(version uint64, old *Mesh, now time.Time) *Mesh {
	r.dirty = false
	r.sort()
	warnings, registry := r.fleet.Warnings(), r.fleet.Registry()
	if r.outputs.Warnings != nil {
		warnings = append(warnings, r.outputs.Warnings()...)
	}
	m := &Mesh{
		Version: version, Discovery: registry.State, Warnings: len(warnings), Causes: r.causes.Causes(), MembersSynced: registry.MembersSynced,
		members: r.members, warnings: text.JSON(warnings),
	}
	var outputs []mesh.OutputHead
	if r.outputs.Heads != nil {
		outputs = r.outputs.Heads()
	}
	m.head = opened(headJSON(r.fleet, outputs, m.Causes, version, now), meshEndpoints)
	m.tail = slices.Concat([]byte(meshWarnings), m.warnings, []byte(meshEnd))

	buffers := make([][]byte, 0, len(r.order)+len(r.members.chunks)+8)
	buffers = append(buffers, m.head)
	var expected []*Endpoint
	for _, e := range r.order {
		if e.instances.len == 0 && e.fleet.Expected() == nil {
			continue
		}
		if e.rendered == nil {
			e.render()
		}
		m.Endpoints = append(m.Endpoints, e.rendered)
		if e.fleet.Matched() {
			expected = append(expected, e.rendered)
		}
		buffers = append(buffers, e.rendered.buffers...)
	}
	if len(m.Endpoints) > 0 {
		buffers[1] = buffers[1][len(","):] // none before the first endpoint
	}
	buffers = append(buffers, []byte(meshMembers))
	buffers = append(r.members.appendJSON(buffers), m.tail)
	if old != nil {
		r.lineage.Replace(len(old.head) + len(old.tail))
	}
	m.Identity = NewRepresentation(&r.lineage, version, r.tag(version), buffers...)
	m.Models = &Models{endpoints: m.Endpoints}
	m.Ready = r.readiness.render(expected, registry)
	m.Targets = r.targets.render(version, r.tag(version))
	return m
}

// tag names what this process rendered for a version.
func (r *meshRenderer) tag(version uint64) string { return fmt.Sprintf(`"%s-%d"`, r.epoch, version) }

// render renders an endpoint that has instances, or of which some are expected.
func (e *endpointRenderer) render() {
	p := &Endpoint{
		Name: e.name, Counts: e.fleet.Counts(), Expected: e.fleet.Expected(),
		endpoint: e.endpoint, instances: e.instances,
	}
	p.head = opened(endpointJSON(p), endpointInstances)
	p.buffers = make([][]byte, 0, len(e.instances.chunks)+2)
	p.buffers = append(p.buffers, slices.Concat([]byte(","), p.head))
	p.own = 2 * len(p.head)
	p.buffers = append(e.instances.appendJSON(p.buffers), []byte(endpointEnd))
	size := 0
	for _, b := range p.buffers {
		size += len(b)
	}
	if size <= smallEndpoint {
		p.buffers = [][]byte{slices.Concat(p.buffers...)}
		p.own += size
	}
	e.rendered = p
}

// opened takes the closing brace off a JSON object, so that more can follow.
func opened(object []byte, more string) []byte {
	end := len(object) - len("}")
	return append(object[:end:end], more...)
}

// Narrow returns the answer with the endpoints of one name, and with one instance of them if id is
// not nil: the same document with less in it. It is nil if there is none such.
func (m *Mesh) Narrow(name string, id *dynmesh.InstanceID) *Representation {
	buffers := [][]byte{m.head}
	for _, e := range m.Endpoints {
		if e.Name != name { // odd foreign names can share a name: then there are several
			continue
		}
		if id == nil {
			buffers = append(buffers, e.buffers...)
		} else if i, ok := e.instances.find(instanceKey(*id)); ok {
			buffers = append(buffers, slices.Concat([]byte(","), e.head, i.json, []byte(endpointEnd)))
		}
	}
	if len(buffers) == 1 {
		return nil
	}
	buffers[1] = buffers[1][len(","):]
	return m.Identity.With(append(buffers, m.tail)...)
}

// Serving says whether a registered instance of an endpoint is ready, and whether the endpoint is
// known at all.
func (m *Mesh) Serving(name string) (serving, known bool) {
	for _, e := range m.Endpoints {
		if e.Name == name { // odd foreign names can share a name: then one that serves is enough
			known = true
			serving = serving || e.Counts.Ready > 0
		}
	}
	return serving, known
}

// Headline is the fleet in one line, as the page has it: of those that the registry lists, without
// what serves no model beside what does.
func (m *Mesh) Headline() string {
	if m.Discovery == dynmesh.Syncing {
		return "The registry has not been read yet"
	}
	ready, remarked, registered := 0, 0, 0
	for _, e := range m.Endpoints {
		for _, s := range e.Instances() {
			if !s.Registered || s.auxiliary {
				continue
			}
			registered++
			if s.Verdict() != dynmesh.Ready {
				continue
			}
			ready++
			if s.remarks != 0 {
				remarked++
			}
		}
	}
	line := fmt.Sprintf("%d ready", ready)
	if remarked > 0 {
		line += fmt.Sprintf(" (%d remarked on)", remarked)
	}
	line += fmt.Sprintf(" of %d registered", registered)
	if m.Discovery == dynmesh.Stale {
		line += ", by what the registry said last"
	}
	return line
}

// Around returns what stands around the instances, as a JSON object: it is for a history, which
// keeps it as it was.
func (m *Mesh) Around() []byte {
	var a mesh.Around
	if err := json.Unmarshal(slices.Concat(bytes.TrimSuffix(m.head, []byte(meshEndpoints)), []byte("}")), &a); err != nil {
		panic(err) // what this package has rendered
	}
	a.Warnings = m.warnings
	return text.JSON(a)
}

// CausesJSON ranges over the causes: the name of each, and the part of the answer.
func (m *Mesh) CausesJSON() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, c := range m.Causes {
			if j := causeJSON(c); !yield(strings.ToValidUTF8(j.Name, "\uFFFD"), text.JSON(j)) {
				return
			}
		}
	}
}

// InstancesJSON ranges over all instances: the name of the endpoint, the ID, and the part of the
// answer, which is shared and must not be changed.
func (m *Mesh) InstancesJSON(yield func(endpoint string, id dynmesh.InstanceID, json []byte) bool) {
	for _, e := range m.Endpoints {
		for _, c := range e.instances.chunks {
			for i := range c.elements {
				x := c.at(i)
				if !yield(e.Name, dynmesh.InstanceID(x.key), x.json) {
					return
				}
			}
		}
	}
}

// InstanceJSON returns an instance's part of the answer, which is shared and must not be changed;
// nil where it is not shown.
func (m *Mesh) InstanceJSON(key dynmesh.InstanceKey) []byte {
	n, found := slices.BinarySearchFunc(m.Endpoints, key.Endpoint, func(e *Endpoint, k dynmesh.Endpoint) int { return e.endpoint.Compare(k) })
	if !found {
		return nil
	}
	x, _ := m.Endpoints[n].instances.find(instanceKey(key.ID))
	return x.json
}
