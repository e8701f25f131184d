package frontend

import (
	"os"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
)

// renderWindow is the least time between the end of one rendering and the start of the next. It is
// counted from the end so that, however long a rendering takes, updates are received for at least
// as long between two of them.
const renderWindow = 10 * time.Millisecond

// renderIn says how long a change must still wait for its rendering: not at all, unless the last
// one ended within the window. So the window costs nothing when nothing else changes.
func renderIn(last, now time.Time) time.Duration {
	return min(renderWindow, max(0, renderWindow-now.Sub(last)))
}

// earlyFrom is the number of instances to conclude on from which /health does not wait for them: it
// is much the cheaper.
const earlyFrom = 1000

// loop leads from updates to snapshots. One goroutine, run, owns all of it.
type loop struct {
	log         *logrus.Entry
	pool        Pool // nil: no gossip
	fleet       *fleet.Fleet
	builder     *snapshot.Builder
	publish     func(*snapshot.Snapshot) // must not block
	transitions transitionLog
	router      *router
	causes      causes
	remarks     remarks
	recorder    *recorder // nil: there is no history
	senses      *senses
	rendered    time.Time // end of the last rendering
}

func newLoop(cfg Config, publish func(*snapshot.Snapshot), registries ...string) *loop {
	now := time.Now()
	known := fleet.Config{Expect: cfg.Expect, Registries: registries, ForeignSystemPort: cfg.ForeignSystemPort, Probe: cfg.probe()}
	known.Host, _ = os.Hostname() // else it is nobody's
	if cfg.Pool != nil {
		known.Gossip, known.Self = true, cfg.Pool.Self()
	}
	f, r, c := fleet.New(known, now), newRouter(cfg), newCauses(cfg.Log)
	return &loop{
		log: cfg.Log, pool: cfg.Pool, fleet: f, builder: snapshot.NewBuilder(f, cfg.Expect, r.shown(), c.table, now), publish: publish,
		transitions: transitionLog{log: cfg.Log}, router: r, causes: c, remarks: newRemarks(f), senses: newSenses(now),
	}
}

// run applies updates until the channel is closed.
func (l *loop) run(updates <-chan dynmesh.RegistryUpdate) {
	window, wake := time.NewTimer(time.Hour), time.NewTimer(heartbeat)
	defer window.Stop()
	defer wake.Stop()
	var gossiped <-chan struct{}
	if l.pool != nil {
		gossiped = l.pool.Changed()
	}
	waiting := false // for the window
	for {
		select {
		case u, ok := <-updates:
			if !ok {
				l.transitions.flush()
				return
			}
			l.fleet.Discover(u)
		case <-gossiped:
			l.fleet.Gossip(l.pool.Take())
		case <-l.router.reported():
			l.router.report(l.fleet)
		case <-wake.C:
		case <-window.C:
			waiting = false
		}
		if waiting {
			continue
		}
		now := time.Now()
		l.senses.observe(now, l.fleet.Alone())
		if l.fleet.Pending(now) || l.router.due(now) || l.causes.due(now) || l.remarks.due(now) {
			if wait := renderIn(l.rendered, now); wait > 0 {
				window.Reset(wait)
				waiting = true
				continue
			}
			l.render(now)
		}
		sleep := heartbeat
		if at, ok := l.next(time.Now()); ok {
			sleep = min(sleep, time.Until(at))
		}
		wake.Reset(sleep)
	}
}

// next tells what is due, and returns when there is something to do though nothing comes in.
func (l *loop) next(now time.Time) (at time.Time, ok bool) {
	if due, any := l.transitions.due(); any && !now.Before(due) {
		l.transitions.flush()
	}
	if l.fleet.Pending(now) { // the last rendering had instances rendered anew
		return now, true
	}
	at, ok = l.fleet.Next()
	for _, due := range []time.Time{l.router.next(), l.causes.next(), l.remarks.next()} {
		if !due.IsZero() && (!ok || due.Before(at)) {
			at, ok = due, true
		}
	}
	if due, any := l.transitions.due(); any && (!ok || due.Before(at)) {
		return due, true
	}
	return at, ok
}

// render publishes all that has come in.
func (l *loop) render(now time.Time) {
	before := l.builder.Snapshot()
	registrations := l.fleet.Registrations()
	l.logRegistrations(registrations)
	if changed := l.builder.Register(registrations); changed && l.fleet.Marked() > earlyFrom {
		l.publish(l.builder.Early())
	}
	changes := l.fleet.Reconcile(now)
	for _, w := range changes.Watches {
		l.pool.WatchForeign(w.Subject, w.Foreign)
	}
	if l.router.take(l.fleet, changes, now) {
		changes.Status = true
	}
	if l.causes.take(l.fleet, changes, now) {
		changes.Status = true
	}
	l.remarks.take(l.fleet, changes, now)
	l.transitions.add(changes.Transitions, now)
	if s := l.builder.Next(changes, now); s != nil {
		l.publish(s)
	}
	l.recorder.record(l.fleet, before, l.builder.Snapshot(), changes, now)
	l.rendered = time.Now()
	l.logDiscovery(before, l.rendered)
}

// logRegistrations tells what is put and deleted, to who debugs.
func (l *loop) logRegistrations(all []fleet.Registration) {
	if !l.log.Logger.IsLevelEnabled(logrus.DebugLevel) {
		return
	}
	for _, r := range all {
		log := l.log.WithFields(logrus.Fields{"endpoint": r.Endpoint().Name(), "instance": r.ID().String()})
		if r.Put == nil {
			log.Debug("Instance removed")
		} else {
			log.Debug("Instance registered")
		}
	}
}

// logDiscovery tells operators when discovery goes and comes back: until then, answers may be wrong
// about the fleet.
func (l *loop) logDiscovery(before *snapshot.Snapshot, now time.Time) {
	s := l.builder.Snapshot()
	if before.Discovery == s.Discovery {
		return
	}
	log := l.log.WithField("instances", s.Health.Instances)
	switch {
	case s.Discovery == dynmesh.Stale:
		log.WithField("dur", now.Sub(s.Since).Round(time.Millisecond)).
			Warn("Discovery is stale: the registry cannot be read, answering from what was known; dur is how long ago it was last heard")
	case s.Discovery == dynmesh.Synced && before.Discovery == dynmesh.Stale:
		log.WithField("dur", now.Sub(before.Since).Round(time.Millisecond)).Info("Discovery is synced again; dur is how long it was stale")
	case s.Discovery == dynmesh.Synced:
		log.Info("Discovery is synced: the registry has been read")
	}
}
