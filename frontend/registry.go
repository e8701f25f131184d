package frontend

import (
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
)

// renderWindow is the least time between the end of one rendering and the start of the next. It is counted from the end
// so that, however long a rendering takes, updates are received for at least as long between two of them.
const renderWindow = 10 * time.Millisecond

// renderIn says how long a change must still wait for its rendering: not at all, unless the last one ended within the
// window. So the window costs nothing when nothing else changes.
func renderIn(last, now time.Time) time.Duration {
	return min(renderWindow, max(0, renderWindow-now.Sub(last)))
}

// registry turns updates into pages. One goroutine, run, owns all of it but page and renders, which anybody may read.
type registry struct {
	log     *logrus.Entry
	page    atomic.Pointer[page]
	renders atomic.Uint64

	// published is called, by run, after each page whose listing or view is new. It must not block.
	published func(old, now *page)

	mesh      *mesh // what is known beyond the listing; nil: nothing else is wanted
	serial    uint64
	endpoints map[dynmesh.Endpoint]*endpoint
	pending   []change // in the order they came; not in the page yet
	state     dynmesh.SyncState
	since     time.Time
	rendered  time.Time // end of the last rendering
	scratch   []byte
}

func newRegistry(log *logrus.Entry, published func(old, now *page)) *registry {
	r := &registry{
		log: log, published: published,
		endpoints: map[dynmesh.Endpoint]*endpoint{},
		since:     time.Now(),
	}
	r.page.Store(&page{state: dynmesh.Syncing, since: r.since, listing: newListing(nil, nil)})
	return r
}

// withMesh has the registry's pages show m, too. It must be called before run.
func (r *registry) withMesh(m *mesh) {
	r.mesh = m
	p := *r.page.Load()
	p.view = m.render(p.version, 0, time.Now())
	r.page.Store(&p)
}

// run applies updates until the channel is closed.
func (r *registry) run(updates <-chan dynmesh.RegistryUpdate) {
	timer, look := stopped(), stopped()
	defer timer.Stop()
	defer look.Stop()
	gossiped := r.mesh.changed()
	waiting := false
	for {
		select {
		case u, ok := <-updates:
			if !ok {
				r.mesh.stop()
				return
			}
			r.take(u)
		case <-gossiped:
			r.mesh.gossip()
		case <-look.C:
			r.mesh.wake()
		case <-timer.C:
			waiting = false
		}
		if waiting || !r.changed() {
			continue
		}
		if wait := renderIn(r.rendered, time.Now()); wait > 0 {
			timer.Reset(wait)
			waiting = true
			continue
		}
		r.render()
		if at, ok := r.mesh.next(); ok {
			look.Reset(time.Until(at))
		}
	}
}

// stopped returns a timer that is yet to be set.
func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// take remembers what an update says for the next rendering.
func (r *registry) take(u dynmesh.RegistryUpdate) {
	r.state, r.since = u.State, u.Since
	r.mesh.take(u)
	if len(u.Puts)+len(u.Deletes) > cap(r.pending)-len(r.pending) {
		grown := make([]change, len(r.pending), len(r.pending)+max(len(r.pending), len(u.Puts)+len(u.Deletes)))
		copy(grown, r.pending)
		r.pending = grown
	}
	debug := r.log.Logger.IsLevelEnabled(logrus.DebugLevel)
	for _, key := range u.Deletes {
		e, known := r.endpoints[key.Endpoint]
		if !known {
			continue
		}
		r.pending = append(r.pending, change{record: &record{endpoint: e, id: key.ID}, gone: true})
		if debug {
			r.log.WithFields(logrus.Fields{"endpoint": e.name, "instance": key.ID.String()}).Debug("Instance removed")
		}
	}
	for _, instance := range u.Puts {
		e, known := r.endpoints[instance.Endpoint]
		if !known {
			e = newEndpoint(instance.Endpoint)
			r.endpoints[e.Endpoint] = e
		}
		r.scratch = instance.AppendJSON(r.scratch[:0])
		r.pending = append(r.pending, change{record: newRecord(e, instance.ID, r.scratch)})
		if debug {
			r.log.WithFields(logrus.Fields{"endpoint": e.name, "instance": instance.ID.String()}).Debug("Instance registered")
		}
	}
}

// changed says whether a page rendered now might differ from the one that is published.
func (r *registry) changed() bool {
	p := r.page.Load()
	return len(r.pending) > 0 || p.state != r.state || !p.since.Equal(r.since) || r.mesh.pending()
}

// largeWork is the number of instances of the mesh from which the listing does not wait for them: it is much the cheaper.
const largeWork = 1000

// render publishes all that was taken.
func (r *registry) render() {
	old := r.page.Load()
	now := old.apply(latest(r.pending))
	if now != old.listing {
		r.renders.Add(1)
		r.serial++
		now.plain.serial = r.serial
	}
	r.pending = forget(r.pending)
	r.forgetEndpoints(now)
	changed := now != old.listing || old.state != r.state || !old.since.Equal(r.since)
	if changed && r.mesh.work() > largeWork {
		r.publish(now, r.page.Load().view)
		changed = false
	}
	view := r.page.Load().view
	if touched := r.mesh.settle(time.Now()); r.mesh != nil && (touched || changed) {
		r.serial++
		view = r.mesh.render(r.page.Load().version+1, r.serial, time.Now())
		changed = true
	}
	if changed {
		r.publish(now, view)
	}
	r.rendered = time.Now()
	r.logState(old, r.rendered)
}

// publish makes a page of a listing and a view.
func (r *registry) publish(l *listing, v *view) {
	old := r.page.Load()
	now := &page{version: old.version + 1, state: r.state, since: r.since, listing: l, view: v}
	r.page.Store(now)
	if now.listing != old.listing || now.view != old.view {
		r.published(old, now)
	}
}

// logState tells operators when discovery goes and comes back: until then, answers may be wrong about the fleet.
func (r *registry) logState(old *page, now time.Time) {
	p := r.page.Load()
	if old.state == p.state {
		return
	}
	log := r.log.WithField("instances", p.instances)
	switch {
	case p.state == dynmesh.Stale:
		log.WithField("dur", now.Sub(p.since).Round(time.Millisecond)).
			Warn("Discovery is stale: etcd cannot be read, answering from what was known; dur is how long ago it was last heard")
	case p.state == dynmesh.Synced && old.state == dynmesh.Stale:
		log.WithField("dur", now.Sub(old.since).Round(time.Millisecond)).Info("Discovery is synced again; dur is how long it was stale")
	case p.state == dynmesh.Synced:
		log.Info("Discovery is synced: the registry has been read")
	}
}

// forgetEndpoints drops the names that no record has any more, so that a fleet with ever new names cannot fill the
// memory.
func (r *registry) forgetEndpoints(l *listing) {
	if len(r.endpoints) == len(l.endpoints) {
		return
	}
	clear(r.endpoints)
	for _, e := range l.endpoints {
		r.endpoints[e.Endpoint] = e.endpoint
	}
}

// forget empties list and keeps its array only when that is small: the first list may be 100,000 long.
func forget[T any](list []T) []T {
	if cap(list) > 1024 {
		return nil
	}
	clear(list)
	return list[:0]
}
