package canary

import (
	"container/heap"
	"context"
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
)

// watched is one endpoint in a loop.
type watched struct {
	Endpoint
	schedule schedule
	wake     instant // when the schedule wants to step again
	place    int     // in the alarms
	activity Activity
	flight   *flight // nil: no canary is under way
	status   Status

	// forgotten: it is kept only until its canary has ended, lest another begins beside it when it is served again.
	forgotten bool
}

// step feeds an event to an endpoint's schedule and does what comes of it.
func (l *loop) step(w *watched, e event, now instant) {
	if l.ending {
		return
	}
	if do := l.apply(w, e, now); do.changed {
		l.tell(w, true)
	}
}

// apply is step, but for telling.
func (l *loop) apply(w *watched, e event, now instant) actions {
	e.full = l.counted >= l.cfg.MaxCanaries
	next, do := l.policy.step(w.schedule, e, now)
	w.schedule = next
	if w.wake != do.wake {
		w.wake = do.wake
		heap.Fix(&l.alarms, w.place)
	}
	if do.cut && w.flight != nil {
		if do.late {
			w.flight.end(context.DeadlineExceeded)
		} else {
			w.flight.end(errDropped)
		}
	}
	if w.flight != nil && next.phase != running && now >= next.told+grace {
		l.giveUp(w.flight)
	}
	if do.outcome == failed && e.kind != answered {
		l.failed(w, failure(do.reason, "the probe does not end"))
	}
	if do.skipped {
		l.metrics.skipped.WithLabelValues(w.Name, string(dynmesh.Busy)).Inc()
	}
	if do.stalled {
		w.status.Detail = oneLine(fmt.Sprintf("%d in flight, no progress for %v", next.moving, l.cfg.Stall))
		l.log(w.Name).Warnf("Endpoint %s is stalled: %s", w.Name, w.status.Detail)
	}
	if do.send {
		l.send(w)
	}
	return do
}

// tell publishes what is known of an endpoint. changed says that others must hear of it.
func (l *loop) tell(w *watched, changed bool) {
	s := &w.schedule
	if s.ready != w.status.Ready || s.finding != w.status.Finding {
		w.status.Since = time.Now()
	}
	w.status.Generation, w.status.Ready, w.status.Draining = s.generation, s.ready, s.draining
	w.status.Finding, w.status.Reason = s.finding, s.reason
	if s.finding != dynmesh.Fail && s.finding != dynmesh.Stalled {
		w.status.Detail = ""
	}
	l.mu.Lock()
	l.statuses[w.Name] = w.status
	l.mu.Unlock()
	if changed && l.cfg.OnChange != nil {
		l.cfg.OnChange(w.status)
	}
}
