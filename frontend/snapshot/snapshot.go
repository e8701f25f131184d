package snapshot

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/cause"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/output"
)

// Snapshot is the whole state that requests, scrapes and streams see. It never changes, but for the
// compressed forms of its answers, each of which is added once.
type Snapshot struct {
	Version   uint64 // counts the snapshots of this process; one with a higher version is newer
	Discovery dynmesh.SyncState
	Since     time.Time // when Discovery began; for Stale, when the registry was last heard
	Sources   string    // the state of each of several registries, as a header shows them: a=synced; b=stale
	Health    *Health
	Mesh      *Mesh
}

// Builder makes the snapshots of a fleet. One goroutine owns both. Each change is rendered once:
// what is listed when it is registered, the rest when the fleet has concluded.
type Builder struct {
	fleet   *fleet.Fleet
	health  healthRenderer
	mesh    meshRenderer
	listed  *Health // as rendered last; not in a snapshot yet, maybe
	current *Snapshot
}

// Outputs is what /mesh tells of those who tell routers. The zero value is that there are none.
type Outputs struct {
	Heads    func() []mesh.OutputHead
	Records  func(dynmesh.InstanceKey) []output.Record // what they did with an instance
	Outlook  func(of dynmesh.InstanceKey, told output.State, held bool) string
	Warnings func() []string
}

// NewBuilder returns a builder that has rendered f as it is. causes is what explains failures; nil:
// nothing does.
func NewBuilder(f *fleet.Fleet, expectations []expect.Expectation, outputs Outputs, causes *cause.Table, now time.Time) *Builder {
	if causes == nil {
		causes = cause.NewTable()
	}
	b := &Builder{fleet: f, mesh: meshRenderer{
		outputs: outputs, causes: causes, fleet: f, endpoints: map[*fleet.Endpoint]*endpointRenderer{}, unordered: true,
		// Random, because frontends that start in the same moment must not take each other's tags
		// for their own.
		epoch:     strconv.FormatUint(rand.Uint64(), 36),
		readiness: readinessRenderer{expectations: expectations},
	}}
	registry := f.Registry()
	b.listed = b.health.first()
	b.current = &Snapshot{Discovery: registry.State, Since: registry.Since, Sources: sources(b.fleet.Registries()), Health: b.listed, Mesh: b.mesh.render(0, nil, now)}
	return b
}

// Snapshot returns the newest one.
func (b *Builder) Snapshot() *Snapshot { return b.current }

// Epoch names this process among those that may answer the same client.
func (b *Builder) Epoch() string { return b.mesh.epoch }

// Register renders what is listed by now, and says whether that is new.
func (b *Builder) Register(all []fleet.Registration) (changed bool) {
	b.health.batch.changes = slices.Grow(b.health.batch.changes, len(all))
	for _, r := range all {
		if r.Endpoint().Key().IsDrill() {
			continue
		}
		k := healthKey{b.mesh.endpoint(r.Endpoint()).endpoint, r.ID()}
		if r.Put == nil {
			b.health.batch.remove(k)
		} else {
			b.health.batch.put(k, struct{}{}, r.Put.AppendJSON)
		}
	}
	b.listed = b.health.render(b.listed, b.current.Version+1)
	return b.unpublished()
}

// unpublished says whether what is listed, or how it is known, is not as in the newest snapshot.
func (b *Builder) unpublished() bool {
	registry := b.fleet.Registry()
	return b.listed != b.current.Health || registry.State != b.current.Discovery ||
		!registry.Since.Equal(b.current.Since) || sources(b.fleet.Registries()) != b.current.Sources
}

// Early returns a snapshot with what was registered, and the mesh as it was: /health is much the
// cheaper, and does not wait where there is much to conclude.
func (b *Builder) Early() *Snapshot { return b.publish(b.current.Mesh) }

// Next returns a snapshot with what was registered and what the fleet has concluded; nil where
// nothing is new.
func (b *Builder) Next(c fleet.Changes, now time.Time) *Snapshot {
	b.mesh.take(c, now)
	if !b.mesh.dirty && !b.unpublished() {
		return nil
	}
	return b.publish(b.mesh.render(b.current.Version+1, b.current.Mesh, now))
}

func (b *Builder) publish(m *Mesh) *Snapshot {
	registry := b.fleet.Registry()
	b.current = &Snapshot{b.current.Version + 1, registry.State, registry.Since, sources(b.fleet.Registries()), b.listed, m}
	return b.current
}

// sources returns the states of registries, where there are several.
func sources(all []dynmesh.RegistryState) string {
	if len(all) < 2 {
		return ""
	}
	var states []string
	for _, r := range all {
		states = append(states, r.Name+"="+r.State.String())
	}
	return strings.Join(states, "; ")
}
