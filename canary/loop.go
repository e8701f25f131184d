package canary

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/schedule"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// errRunsAlready is Run's answer to a second call.
var errRunsAlready = errors.New("run canary monitor: it ran already")

// stopTimeout bounds how long Run waits for probes that ignore their context.
const stopTimeout = 2 * time.Second

// loop is Run's: one goroutine owns all schedules.
type loop struct {
	*Monitor
	targets   map[string]*target
	deadlines timers.Queue[schedule.Instant, *target]
	runs      map[*probeRun]struct{} // the canaries under way; of them,
	active    int                    // those that have not leaked count towards MaxCanaries
	until     schedule.Instant       // when maintenance ends; Never where there is none
	stopping  bool                   // Run ends

	sampleAt time.Time     // when the counters are looked at next
	lost     time.Duration // how long this process was kept from running
}

// Run watches the endpoints until ctx ends, then ends the canaries under way and waits for them. It
// returns nil; it fails only when it is called twice. A probe that ignores its context may still
// run when it returns, which is logged.
func (m *Monitor) Run(ctx context.Context) error {
	m.mu.Lock()
	if m.ran {
		m.mu.Unlock()
		return errRunsAlready
	}
	m.ran = true
	m.mu.Unlock()
	l := &loop{Monitor: m, targets: map[string]*target{}, runs: map[*probeRun]struct{}{}, until: schedule.Never}
	m.cfg.Log.Infof("Health check manager started (canary_wait_time: %v, request_timeout: %v)", m.cfg.Wait, m.cfg.Timeout)

	l.sampleAt = time.Now()
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		select {
		case <-ctx.Done():
			l.stop()
			return nil
		case <-m.wakeup:
		case <-alarm.C:
		}
		l.noticeDelay()
		l.readInbox() // first: what has come is in time
		l.sampleAll()
		l.noticeDelay()
		l.stepDue()
		alarm.Reset(min(time.Until(l.sampleAt), l.nextDeadline()-l.now()))
	}
}

// maxSamplePeriod is how often counters are looked at, at least: a stall budget may be 3 s, and a
// gap between two steps looks longer than it is by up to that.
const maxSamplePeriod = 250 * time.Millisecond

// samplePeriod is a tenth of the wait time at most, since that is how much later than it should a
// canary may come.
func (m *Monitor) samplePeriod() time.Duration {
	return min(max(m.cfg.Wait/10, 10*time.Millisecond), maxSamplePeriod)
}

// tolerance is how late the loop may be by its own work.
const tolerance = 50 * time.Millisecond

// noticeDelay stops the clock for as long as this process was kept from running: what it has not
// heard then, nobody has failed to say.
func (l *loop) noticeDelay() {
	if late := time.Since(l.sampleAt); late > tolerance {
		l.lost += late
		l.sampleAt = time.Now() // the rest is not late yet
		l.metrics.starved.Add(late.Seconds())
	}
}

// stop ends the canaries under way, and waits for them.
func (l *loop) stop() {
	l.stopping = true
	for r := range l.runs {
		r.cancel(errStopping)
	}
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	for waiting := true; waiting && len(l.runs) > 0; {
		select {
		case <-l.wakeup:
			l.readInbox()
		case <-timeout.C:
			waiting = false
		}
	}
	l.mu.Lock()
	l.stopped = true
	l.inbox = nil
	l.mu.Unlock()
	for r := range l.runs {
		l.log(r.target.Name).Warnf("The health check of %s ignores that it should end, and is left behind", r.target.Name)
	}
}

// now is the time since the monitor's beginning in which this process could run.
func (l *loop) now() schedule.Instant { return time.Since(l.start) - l.lost }

// readInbox does what was asked for.
func (l *loop) readInbox() {
	l.mu.Lock()
	msgs := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, msg := range msgs {
		msg(l)
	}
}

// sampleAll looks at every endpoint's counters, where it is time. Most have not moved, which costs
// a comparison.
func (l *loop) sampleAll() {
	if time.Now().Before(l.sampleAt) {
		return
	}
	l.sampleAt = time.Now().Add(l.samplePeriod())
	now := l.now()
	for _, t := range l.targets {
		if t.Activity == nil {
			continue
		}
		if a := t.Activity(); a != t.activity {
			t.activity = a
			l.step(t, schedule.Event{Kind: schedule.Tick, Sampled: true, Activity: a}, now)
		}
	}
}

// sampled adds a sample to an event, so that nothing is decided by an old one.
func (l *loop) sampled(t *target, e schedule.Event) schedule.Event {
	if t.Activity != nil {
		t.activity = t.Activity()
		e.Sampled, e.Activity = true, t.activity
	}
	return e
}

// nextDeadline is when there is something to do.
func (l *loop) nextDeadline() schedule.Instant {
	next, ok := l.deadlines.Next()
	if !ok {
		return l.until
	}
	return min(l.until, next)
}

// setDeadline has an endpoint stepped at a moment.
func (l *loop) setDeadline(t *target, at schedule.Instant) {
	if at == schedule.Never {
		l.deadlines.Stop(&t.deadline)
	} else {
		l.deadlines.Set(&t.deadline, at)
	}
}

// stepDue steps the endpoints whose time has come.
func (l *loop) stepDue() {
	if l.now() >= l.until {
		l.until = schedule.Never
		l.cfg.Log.Info("Maintenance is over")
	}
	for {
		now := l.now()
		t, ok := l.deadlines.Pop(now)
		if !ok {
			return
		}
		l.step(t, l.sampled(t, schedule.Event{Kind: schedule.Tick}), now)
	}
}

func (l *loop) serve(e Endpoint) {
	t, known := l.targets[e.Name]
	if !known {
		t = &target{}
		t.deadline.Value = t
		l.targets[e.Name] = t
		if l.until != schedule.Never {
			l.apply(t, schedule.Event{Kind: schedule.Maintained, Until: l.until}, l.now())
		}
	}
	if !known || t.forgotten {
		t.forgotten, t.status = false, Status{Endpoint: e.Name}
		l.metrics.add(e.Name)
		l.log(e.Name).Infof("Spawned health check task for endpoint: %s", e.Name)
	}
	t.Endpoint = e
	if t.activity = (Activity{}); e.Activity != nil {
		t.activity = e.Activity()
	}
	l.step(t, schedule.Event{
		Kind: schedule.Served, Activity: t.activity, HasProbe: e.Probe != nil, CountsProbes: e.CountsCanaries,
		Seed: rand.Uint32(), // the replicas of a worker must not go in step
	}, l.now())
}

func (l *loop) drain(names []string) {
	l.each(names, func(t *target) { l.step(t, schedule.Event{Kind: schedule.Drained}, l.now()) })
}

func (l *loop) recheck(names []string) {
	l.each(names, func(t *target) { l.step(t, l.sampled(t, schedule.Event{Kind: schedule.Nudged}), l.now()) })
}

// suspect takes in a sign that something behind these endpoints does not work.
func (l *loop) suspect(f *dynmesh.Failure, names []string) {
	l.each(names, func(t *target) {
		was := t.state.Ready
		do := l.stepSign(t, l.sampled(t, schedule.Event{Kind: schedule.Suspected, Reason: f.Reason}), f)
		if do.Send || was && !t.state.Ready {
			l.metrics.signs.WithLabelValues(t.Name, string(f.Reason)).Inc()
		}
		if do.Send {
			l.log(t.Name).WithField("reason", string(f.Reason)).Infof("Endpoint %s may not work, asking it now: %s", t.Name, f)
		}
	})
}

// requestFailed takes in that a real request failed.
func (l *loop) requestFailed(f *dynmesh.Failure, names []string) {
	l.each(names, func(t *target) {
		t.lastError = f
		l.step(t, l.sampled(t, schedule.Event{Kind: schedule.RequestFailed, Reason: f.Reason}), l.now())
	})
}

// each calls f with the endpoints of these names, or with all where there is none.
func (l *loop) each(names []string, f func(*target)) {
	if len(names) == 0 {
		for _, t := range l.targets {
			f(t)
		}
	}
	for _, name := range names {
		if t, ok := l.targets[name]; ok {
			f(t)
		}
	}
}

func (l *loop) forget(name string) {
	t, ok := l.targets[name]
	if !ok || t.forgotten {
		return
	}
	t.forgotten, t.Activity = true, nil
	l.apply(t, schedule.Event{Kind: schedule.Drained}, l.now())
	l.mu.Lock()
	delete(l.statuses, name)
	l.mu.Unlock()
	l.metrics.forget(name)
	if t.run == nil {
		l.remove(t)
	}
}

func (l *loop) remove(t *target) {
	delete(l.targets, t.Name)
	l.deadlines.Stop(&t.deadline)
}

func (l *loop) maintain(end time.Time, reason string) {
	now := l.now()
	until := now + time.Until(end)
	if l.until = until; until > now { // else stepDue ends it
		d := (until - now).Round(time.Second)
		l.cfg.Log.WithField("dur", d).Infof("Maintenance: nothing runs out of time for %v: %s", d, reason)
	}
	for _, t := range l.targets {
		l.step(t, schedule.Event{Kind: schedule.Maintained, Until: until}, now)
	}
}
