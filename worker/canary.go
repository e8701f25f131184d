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
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.endpoints[name]
	switch {
	case w.stage != declaring:
		return fmt.Errorf("canary for endpoint %q: the worker runs already", name)
	case e == nil:
		return fmt.Errorf("canary for endpoint %q: it has no handler", name)
	case probe == nil:
		return fmt.Errorf("canary for endpoint %q: the probe is nil", name)
	}
	e.probe = probe
	return nil
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
	tell := cfg.OnChange
	cfg.OnChange = func(s canary.Status) {
		status := NotReady
		if s.Ready {
			status = Ready
		}
		w.endpoints[s.Endpoint].status.set(status)
		if tell != nil {
			tell(s)
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
	for _, e := range w.served() {
		err := w.monitor.Serve(canary.Endpoint{
			Name:     e.name,
			Probe:    e.probe,
			Activity: e.activity,
		})
		if err != nil {
			return err
		}
	}
	if err := w.monitor.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
