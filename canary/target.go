package canary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/schedule"
	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// Why a canary's context ends, other than by its deadline.
var (
	errSuperseded = errors.New("the canary is not needed any more")
	errStopping   = errors.New("the monitor stops")
	errOver       = errors.New("the canary is over")
)

// target is one endpoint in a loop.
type target struct {
	Endpoint
	state     schedule.State
	activity  Activity
	run       *probeRun        // nil: no canary is under way
	unasked   string           // why its last canary was not sent
	lastError *dynmesh.Failure // of a real request; nil: nobody told
	status    Status
	deadline  timers.Timer[schedule.Instant, *target] // for when the schedule wants to step again

	// forgotten: it is kept only until its canary has ended, lest another begins beside it when it
	// is served again.
	forgotten bool
}

// probeRun is one canary under way.
type probeRun struct {
	target     *target
	generation uint32
	cancel     context.CancelCauseFunc
	done       chan struct{} // closed by its goroutine's last act
	leaked     bool          // it was told to end and did not, so it counts no more
	lost       time.Duration // what the loop had lost when it was sent
}

// step feeds an event to an endpoint's schedule and does what comes of it.
func (l *loop) step(t *target, e schedule.Event, now schedule.Instant) {
	if l.stopping {
		return
	}
	if do := l.apply(t, e, now); do.Changed || l.policy.Budget(t.state) != t.status.StallBudget {
		l.publish(t, do.Changed)
	}
}

// stepSign is step for a sign that the endpoint does not work, which f is.
func (l *loop) stepSign(t *target, e schedule.Event, f *dynmesh.Failure) (do schedule.Actions) {
	if l.stopping {
		return do
	}
	if do = l.apply(t, e, l.now()); do.Outcome == schedule.Failed {
		t.status.Detail = f.Detail
		l.metrics.failed.WithLabelValues(t.Name, string(f.Reason)).Inc()
		l.log(t.Name).WithField("reason", string(f.Reason)).Errorf("Endpoint %s does not work: %s; it is asked again within %v", t.Name, f, l.cfg.Recheck)
	}
	if do.Changed {
		l.publish(t, true)
	}
	return do
}

// apply is step, but for publishing.
func (l *loop) apply(t *target, e schedule.Event, now schedule.Instant) schedule.Actions {
	e.Full = l.active >= l.cfg.MaxCanaries
	next, do := l.policy.Step(t.state, e, now)
	t.state = next
	l.setDeadline(t, max(do.Wake, now+1)) // a step leaves nothing due; if it did, this would not end
	if t.run != nil {
		switch {
		case do.Cancel && do.Late:
			t.run.cancel(context.DeadlineExceeded)
		case do.Cancel:
			t.run.cancel(errSuperseded)
		}
		if do.Overdue {
			l.leak(t.run)
		}
	}
	if do.Outcome == schedule.Failed && e.Kind != schedule.Ended && e.Kind != schedule.Suspected {
		l.failed(t, failure(do.Reason, "the probe does not end"))
	}
	if do.Skipped {
		l.metrics.skipped.WithLabelValues(t.Name, string(dynmesh.Busy)).Inc()
	}
	if do.Stalled {
		l.sayStalled(t, now)
	}
	if do.Rejected {
		l.sayRejected(t)
	}
	if do.Send {
		l.send(t)
	}
	return do
}

// sayStalled tells what has stood still for how long, and what ends it.
func (l *loop) sayStalled(t *target, now schedule.Instant) {
	t.status.Detail = fmt.Sprintf("%d in flight, no progress for %v (budget %v)", t.state.InFlight(),
		l.policy.Still(t.state, now).Round(100*time.Millisecond), l.policy.Budget(t.state).Round(100*time.Millisecond))
	if still := t.state.Still(); still != "" {
		t.status.Detail = still + ": " + t.status.Detail
	}
	next := "it stays ready, since nobody can ask it"
	if t.Probe != nil {
		t.status.Detail += ", nor a canary answered"
		next = "not ready until a request moves or a canary passes"
	}
	l.log(t.Name).Warnf("Endpoint %s is stalled: %s; %s", t.Name, t.status.Detail, next)
}

// sayRejected tells which requests failed, and what ends it.
func (l *loop) sayRejected(t *target) {
	t.status.Detail = fmt.Sprintf("%d requests in a row failed", t.state.ErrorsInRow())
	if t.lastError != nil {
		t.status.Detail = text.Line(t.status.Detail+", the last: "+t.lastError.Error(), dynmesh.MaxDetail)
	}
	l.log(t.Name).WithField("reason", string(t.state.Reason)).Errorf(
		"Endpoint %s is not ready: %s; ready when one succeeds, or when a canary passes and none has failed for %v", t.Name, t.status.Detail, l.cfg.Wait)
}

// send starts a canary. Its end comes back as a message.
func (l *loop) send(t *target) {
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &probeRun{target: t, generation: t.state.Generation, cancel: cancel, done: make(chan struct{}), lost: l.lost}
	t.run = r
	l.runs[r] = struct{}{}
	l.active++
	l.metrics.sent.WithLabelValues(t.Name).Inc()
	l.log(t.Name).Infof("Canary timer expired for %s, sending health check", t.Name)
	probe := t.Probe
	go func() {
		defer close(r.done)
		defer cancel(errOver)
		// runtime.Goexit passes by the rest.
		result := Result{Failure: failure(dynmesh.ReasonError, "the probe ended its goroutine")}
		defer func() {
			// It is refused only where Run has given the canary up.
			_ = l.post(func(l *loop) { l.finish(r, result) })
		}()
		result = check(ctx, probe, func() { _ = l.post(func(l *loop) { l.loads(r) }) }) // refused as above
	}()
}

// loads gives a canary the time of a start.
func (l *loop) loads(r *probeRun) {
	if r.target.run == r {
		l.step(r.target, schedule.Event{Kind: schedule.Loading, Generation: r.generation}, l.now())
	}
}

// leak stops counting a canary that does not end.
func (l *loop) leak(r *probeRun) {
	if !r.leaked {
		r.leaked = true
		l.active--
	}
}

// finish joins a canary and takes in its result.
func (l *loop) finish(r *probeRun, result Result) {
	<-r.done
	delete(l.runs, r)
	l.leak(r)
	t := r.target
	t.run = nil
	if l.stopping {
		return
	}
	if t.forgotten {
		l.remove(t)
		return
	}
	// Whether real requests were in the canary's way is decided by what they do now.
	e := l.sampled(t, schedule.Event{Kind: schedule.Ended, Generation: r.generation})
	switch {
	case result.Failure != nil:
		e.Reason = result.Failure.Reason
	case result.Unasked != "":
		e.Unasked = true
	default:
		e.Took = max(result.Total-(l.lost-r.lost), 0) // by the clock that its deadline was set by
	}
	do := l.apply(t, e, l.now())
	l.unasked(t, result.Unasked)
	switch do.Outcome {
	case schedule.Passed:
		t.status.FirstChunk, t.status.Duration = result.FirstChunk, result.Total
		l.metrics.passed(result)
		l.log(t.Name).Infof("Health check successful for %s", t.Name)
	case schedule.Failed:
		if result.Failure == nil {
			result.Failure = failure(do.Reason, "the answer took %v", result.Total.Round(time.Millisecond))
		}
		l.failed(t, result.Failure)
	default:
		l.log(t.Name).Debugf("Health check of %s was needless", t.Name)
	}
	l.publish(t, do.Changed)
}

// unasked takes note of why an endpoint is not asked, and says so where it is news.
func (l *loop) unasked(t *target, why string) {
	if why != "" && why != t.unasked {
		l.log(t.Name).Infof("Endpoint %s is not asked: %s", t.Name, why)
	}
	t.unasked = why
}

// failed tells of a canary that counts against its endpoint.
func (l *loop) failed(t *target, f *dynmesh.Failure) {
	if t.state.Finding == dynmesh.Fail { // else it is about a stall, which says what it is itself
		t.status.Detail = f.Detail
	}
	l.metrics.failed.WithLabelValues(t.Name, string(f.Reason)).Inc()
	log := l.log(t.Name).WithField("reason", string(f.Reason))
	switch {
	case schedule.IsLate(f.Reason):
		log.Warnf("Health check timeout for %s", t.Name)
	case f.Detail == "":
		log.Errorf("Health check request failed for %s: %s", t.Name, f.Reason)
	default:
		log.Errorf("Health check request failed for %s: %s", t.Name, f.Detail)
	}
}

// publish shows what is known of an endpoint. changed says that others must hear of it.
func (l *loop) publish(t *target, changed bool) {
	s := &t.state
	if s.Ready != t.status.Ready || s.Finding != t.status.Finding {
		t.status.Since = time.Now()
	}
	t.status.Generation, t.status.Ready, t.status.Draining = s.Generation, s.Ready, s.Draining
	t.status.Finding, t.status.Reason, t.status.Rejected = s.Finding, s.Reason, s.Rejected()
	t.status.StallBudget = l.policy.Budget(*s)
	switch s.Finding {
	case dynmesh.Fail, dynmesh.Stalled: // said already
	case dynmesh.Unchecked:
		t.status.Detail = t.unasked
	default:
		t.status.Detail = ""
	}
	l.mu.Lock()
	l.statuses[t.Name] = t.status
	l.mu.Unlock()
	if changed && l.cfg.OnChange != nil {
		l.cfg.OnChange(t.status)
	}
}
