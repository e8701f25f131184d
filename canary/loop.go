package canary

import (
	"container/heap"
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// errRunsAlready is Run's answer to a second call.
var errRunsAlready = errors.New("run canary monitor: it ran already")

// farewell bounds how long Run waits for probes that ignore their context.
const farewell = 2 * time.Second

// loop is Run's: one goroutine owns all schedules.
type loop struct {
	*Monitor
	all     map[string]*watched
	alarms  alarms
	flying  map[*flight]struct{} // the canaries under way; of them,
	counted int                  // those that have not been given up count towards MaxCanaries
	until   instant              // when maintenance ends; never where there is none
	ending  bool                 // Run ends
}

// Run watches the endpoints until ctx ends, then ends the canaries under way and waits for them. It returns nil; it
// fails only when it is called twice. A probe that ignores its context may still run when it returns, which is logged.
func (m *Monitor) Run(ctx context.Context) error {
	m.mu.Lock()
	if m.ran {
		m.mu.Unlock()
		return errRunsAlready
	}
	m.ran = true
	m.mu.Unlock()
	l := &loop{Monitor: m, all: map[string]*watched{}, flying: map[*flight]struct{}{}, until: never}
	m.cfg.Log.Infof("Health check manager started (canary_wait_time: %v, request_timeout: %v)", m.cfg.Wait, m.cfg.Timeout)

	samples := time.NewTicker(m.samplePeriod())
	defer samples.Stop()
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		select {
		case <-ctx.Done():
			l.stop()
			return nil
		case <-m.wakeup:
			l.read()
		case <-samples.C:
			l.sample()
		case <-alarm.C:
		}
		l.ring()
		if next := l.next(); next == never {
			alarm.Stop()
		} else {
			alarm.Reset(next - l.now())
		}
	}
}

// next is when there is something to do.
func (l *loop) next() instant {
	if len(l.alarms) == 0 {
		return l.until
	}
	return min(l.until, l.alarms[0].wake)
}

// stop ends the canaries under way, and waits for them.
func (l *loop) stop() {
	l.ending = true
	for f := range l.flying {
		f.end(errStopping)
	}
	patience := time.NewTimer(farewell)
	defer patience.Stop()
	for waiting := true; waiting && len(l.flying) > 0; {
		select {
		case <-l.wakeup:
			l.read()
		case <-patience.C:
			waiting = false
		}
	}
	l.mu.Lock()
	l.stopped = true
	l.inbox = nil
	l.mu.Unlock()
	for f := range l.flying {
		l.log(f.endpoint.Name).Warnf("The health check of %s ignores that it should end, and is left behind", f.endpoint.Name)
	}
}

// samplePeriod is a tenth of the wait time, since that is how much later than it should a canary may come; a second
// at most, so that real requests verify an endpoint soon.
func (m *Monitor) samplePeriod() time.Duration {
	return min(max(m.cfg.Wait/10, 10*time.Millisecond), time.Second)
}

func (l *loop) now() instant { return time.Since(l.start) }

// read does what was asked for.
func (l *loop) read() {
	l.mu.Lock()
	msgs := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, msg := range msgs {
		msg(l)
	}
}

// sample looks at every endpoint's counters. Most have not moved, which costs a comparison.
func (l *loop) sample() {
	now := l.now()
	for _, w := range l.all {
		if w.Activity == nil {
			continue
		}
		if a := w.Activity(); a != w.activity {
			w.activity = a
			l.step(w, event{kind: tick, fresh: true, activity: a}, now)
		}
	}
}

// ring steps the endpoints whose time has come.
func (l *loop) ring() {
	if l.now() >= l.until {
		l.until = never
		l.cfg.Log.Info("Maintenance is over")
	}
	for len(l.alarms) > 0 {
		now := l.now()
		w := l.alarms[0]
		if w.wake > now {
			return
		}
		l.step(w, l.fresh(w, event{kind: tick}), now)
		if w.wake <= now {
			w.wake = now + 1 // unreachable: a step leaves nothing due. Otherwise this would be an endless loop
			heap.Fix(&l.alarms, w.place)
		}
	}
}

// fresh adds a sample to an event, so that nothing is decided by an old one.
func (l *loop) fresh(w *watched, e event) event {
	if w.Activity != nil {
		w.activity = w.Activity()
		e.fresh, e.activity = true, w.activity
	}
	return e
}

func (l *loop) serve(e Endpoint) {
	w, known := l.all[e.Name]
	if !known {
		w = &watched{wake: never}
		if l.until != never {
			w.schedule.until = l.until
		}
		l.all[e.Name] = w
		heap.Push(&l.alarms, w)
	}
	if !known || w.forgotten {
		w.forgotten, w.status = false, Status{Endpoint: e.Name}
		l.metrics.add(e.Name)
		l.log(e.Name).Infof("Spawned health check task for endpoint: %s", e.Name)
	}
	w.Endpoint = e
	if w.activity = (Activity{}); e.Activity != nil {
		w.activity = e.Activity()
	}
	l.step(w, event{
		kind: registered, activity: w.activity, checked: e.Probe != nil, counted: e.CountsCanaries,
		seed: rand.Uint32(), // the replicas of a worker must not go in step
	}, l.now())
}

func (l *loop) drain(names []string) {
	l.each(names, func(w *watched) { l.step(w, event{kind: drained}, l.now()) })
}

func (l *loop) recheck(names []string) {
	l.each(names, func(w *watched) { l.step(w, l.fresh(w, event{kind: hinted}), l.now()) })
}

// each calls f with the endpoints of these names, or with all where there is none.
func (l *loop) each(names []string, f func(*watched)) {
	if len(names) == 0 {
		for _, w := range l.all {
			f(w)
		}
	}
	for _, name := range names {
		if w, ok := l.all[name]; ok {
			f(w)
		}
	}
}

func (l *loop) forget(name string) {
	w, ok := l.all[name]
	if !ok || w.forgotten {
		return
	}
	w.forgotten, w.Activity = true, nil
	l.apply(w, event{kind: drained}, l.now())
	l.mu.Lock()
	delete(l.statuses, name)
	l.mu.Unlock()
	l.metrics.forget(name)
	if w.flight == nil {
		l.remove(w)
	}
}

func (l *loop) remove(w *watched) {
	delete(l.all, w.Name)
	heap.Remove(&l.alarms, w.place)
}

func (l *loop) maintain(until instant, reason string) {
	now := l.now()
	if l.until = until; until > now { // else ring ends it
		d := (until - now).Round(time.Second)
		l.cfg.Log.WithField("dur", d).Infof("Maintenance: nothing runs out of time for %v: %s", d, reason)
	}
	for _, w := range l.all {
		l.step(w, event{kind: maintaining, until: until}, now)
	}
}
