package canary

import (
	"context"
	"errors"

	"github.com/dynmesh/dynmesh"
)

// Why a canary's context ends, other than by its deadline.
var (
	errDropped  = errors.New("the canary is not needed any more")
	errStopping = errors.New("the monitor stops")
	errOver     = errors.New("the canary is over")
)

// flight is one canary under way.
type flight struct {
	endpoint   *watched
	generation uint32
	end        context.CancelCauseFunc
	done       chan struct{} // closed by its goroutine's last act
	given      bool          // up: it was told to end and did not, so it counts no more
}

// send starts a canary. Its end comes back as a message.
func (l *loop) send(w *watched) {
	ctx, end := context.WithCancelCause(context.Background())
	f := &flight{endpoint: w, generation: w.schedule.canary, end: end, done: make(chan struct{})}
	w.flight = f
	l.flying[f] = struct{}{}
	l.counted++
	l.metrics.sent.WithLabelValues(w.Name).Inc()
	l.log(w.Name).Infof("Canary timer expired for %s, sending health check", w.Name)
	probe := w.Probe
	go func() {
		defer close(f.done)
		defer end(errOver)
		result := Result{Failure: failure(dynmesh.ReasonError, "the probe ended its goroutine")} // runtime.Goexit passes by the rest
		defer func() {
			// It is refused only where Run has given the canary up.
			_ = l.post(func(l *loop) { l.land(f, result) })
		}()
		result = Check(ctx, probe)
	}()
}

// giveUp stops counting a canary that does not end.
func (l *loop) giveUp(f *flight) {
	if !f.given {
		f.given = true
		l.counted--
	}
}

// land joins a canary and takes in its result.
func (l *loop) land(f *flight, r Result) {
	<-f.done
	delete(l.flying, f)
	l.giveUp(f)
	w := f.endpoint
	w.flight = nil
	if l.ending {
		return
	}
	if w.forgotten {
		l.remove(w)
		return
	}
	// Whether real requests were in the canary's way is decided by what they do now.
	e := l.fresh(w, event{kind: answered, generation: f.generation})
	if r.Failure != nil {
		e.reason = r.Failure.Reason
	}
	do := l.apply(w, e, l.now())
	switch do.outcome {
	case passed:
		w.status.FirstChunk, w.status.Duration = r.FirstChunk, r.Total
		l.metrics.passed(r)
		l.log(w.Name).Infof("Health check successful for %s", w.Name)
	case failed:
		l.failed(w, r.Failure)
	default:
		l.log(w.Name).Debugf("Health check of %s was needless", w.Name)
	}
	l.tell(w, do.changed)
}

// failed tells of a canary that counts against its endpoint.
func (l *loop) failed(w *watched, f *dynmesh.Failure) {
	if w.schedule.finding == dynmesh.Fail { // else it is about a stall, which says what it is itself
		w.status.Detail = f.Detail
	}
	l.metrics.failed.WithLabelValues(w.Name, string(f.Reason)).Inc()
	log := l.log(w.Name).WithField("reason", string(f.Reason))
	switch {
	case isLate(f.Reason):
		log.Warnf("Health check timeout for %s", w.Name)
	case f.Detail == "":
		log.Errorf("Health check request failed for %s: %s", w.Name, f.Reason)
	default:
		log.Errorf("Health check request failed for %s: %s", w.Name, f.Detail)
	}
}
