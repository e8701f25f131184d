package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/dynmesh/dynmesh/canary"
)

// Canary has the monitor ask an endpoint with probe when nobody else does: once it is served, when it has been idle for a
// while, and after failures. Where Config.Canary is nil, probes are not used. It must be called after Handle and before Run.
//
// For an endpoint of this process, probe is [canary.Handler] with the handler itself: canaries then pass by the counters
// of real requests. An endpoint without a probe is ready as soon as it is served.
func (w *Worker) Canary(name string, probe canary.Probe) error {
	return w.Watch(canary.Endpoint{Name: name, Probe: probe})
}

// Watch is Canary for an endpoint whose real requests may go around this worker: where e.Activity is given, it tells of
// them in place of the worker's own counters.
func (w *Worker) Watch(e canary.Endpoint) error {
	if err := w.declare(e); err != nil {
		return fmt.Errorf("canary for endpoint %q: %w", e.Name, err)
	}
	return nil
}

func (w *Worker) declare(e canary.Endpoint) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.endpoints[e.Name]
	switch {
	case w.stage != declaring:
		return errors.New("the worker runs already")
	case known == nil:
		return errors.New("it has no handler")
	case e.Probe == nil:
		return errors.New("the probe is nil")
	}
	known.watch = e
	return nil
}

// Recheck tells that what is behind the endpoints may work again: those whose last canary failed get the next one now. It
// does nothing where there are no canaries.
func (w *Worker) Recheck() {
	if w.monitor != nil {
		w.monitor.Recheck()
	}
}

// newMonitor makes the monitor that says of each endpoint whether it is ready. Without one, being served is enough.
func (w *Worker) newMonitor() error {
	if w.cfg.Canary == nil {
		return nil
	}
	cfg := *w.cfg.Canary
	if cfg.Log == nil {
		cfg.Log = w.log
	}
	also := cfg.OnChange
	cfg.OnChange = func(s canary.Status) {
		status := NotReady
		if s.Ready {
			status = Ready
		}
		w.endpoints[s.Endpoint].status.set(status)
		w.tell(s)
		if also != nil {
			also(s)
		}
	}
	monitor, err := canary.NewMonitor(cfg)
	if err != nil {
		return fmt.Errorf("Canary: %w", err)
	}
	w.monitor = monitor
	return w.metrics.Register(monitor)
}

// watch runs the monitor until ctx ends. All canaries have ended when it returns.
func (w *Worker) watch(ctx context.Context) error {
	for _, e := range w.sorted() {
		watch := e.watch
		watch.Name = e.name
		if watch.Activity == nil {
			watch.Activity = e.activity
		}
		if err := w.monitor.Serve(watch); err != nil {
			return err
		}
	}
	if err := w.monitor.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
