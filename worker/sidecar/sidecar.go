package sidecar

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"

	"github.com/dynmesh/dynmesh"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/worker/engine"
)

// Sidecar stands in front of one engine. Make it with [New]. All its methods may be called from any
// goroutine. Probe works without Run, which is what keeps Model and Activity up to date, and logs
// when the engine comes and goes.
type Sidecar struct {
	cfg       Config
	engine    engine.Engine
	client    client
	intervals intervals
	monitor   *monitor
	poller    *poller // nil: the activity is the proxy's

	mu  sync.Mutex
	ran bool
}

// New checks cfg. It asks nothing of the engine. Errors name the field that is wrong.
func New(cfg Config) (*Sidecar, error) {
	cfg, e, root, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("new sidecar: %w", err)
	}
	c, err := newClient(root, cfg.APIKey, cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("new sidecar: %w", err)
	}
	s := &Sidecar{cfg: cfg, engine: e, client: c, intervals: defaultIntervals(), monitor: newMonitor(c, e, cfg)}
	if cfg.Activity == ActivityMetrics {
		s.poller = newPoller(c, e.Counters, cfg)
	}
	return s, nil
}

// Run waits for the engine and watches it, and reads its counters where the configuration says so,
// until ctx ends. Then it returns nil. It fails only when it is called twice.
func (s *Sidecar) Run(ctx context.Context) error {
	s.mu.Lock()
	ran := s.ran
	s.ran = true
	s.mu.Unlock()
	if ran {
		return errors.New("run sidecar: it ran already")
	}
	defer s.client.http.CloseIdleConnections()
	var parts sync.WaitGroup
	if s.poller != nil {
		parts.Go(func() { s.poller.run(ctx, s.intervals.metrics) })
	}
	s.monitor.run(ctx, s.intervals)
	parts.Wait()
	return nil
}

// Find asks the engine which model it serves, as the first canary would: after it, none has to. It
// returns why that failed.
func (s *Sidecar) Find(ctx context.Context) error { return s.monitor.poll(ctx) }

// Model is the name that the engine serves its model under: Config.Model, or the one found last; ""
// before any was found.
func (s *Sidecar) Model() string {
	model, _ := s.monitor.modelName()
	return model
}

// Answered returns a channel that is closed once the engine has answered for the first time: it has
// told what it serves, or a canary has passed. That is the moment to register the endpoint; whether
// it is ready remains for canaries to say. It stays closed when the engine goes away again.
func (s *Sidecar) Answered() <-chan struct{} { return s.monitor.answered }

// Activity returns what canary.Endpoint.Activity should be when Config.Activity is ActivityMetrics,
// and CountsCanaries must be set then: the engine counts canaries, too. It is nil otherwise: the
// worker's own counters are the ones to use.
//
// The function does not block. Run reads the counters every second. Nothing counts that has
// happened while they could not be read, and when they have not been for 2 s, nothing is in flight:
// what is not known neither vouches for the engine nor makes it stall.
func (s *Sidecar) Activity() func() canary.Activity {
	if s.poller == nil {
		return nil
	}
	return s.poller.activity
}

// RequestFailed tells of a real request that the engine failed, as worker/proxy's OnFailure does.
// It does not block.
func (s *Sidecar) RequestFailed(f *dynmesh.Failure) {
	if f.Reason == dynmesh.ReasonRefused {
		s.monitor.invalidate()
	}
}

// TLS is what requests to the engine are secured with; nil: the system's authorities, or nothing.
func (s *Sidecar) TLS() *tls.Config { return s.client.tls.Clone() }

// Probe returns the engine's canary: its smallest real request, or Config.Payload, sent to the
// engine itself. It does not pass through the worker, so the worker does not count it. (The engine
// does: see Activity.)
//
// While the model's name is not known it asks for that first, and fails as that fails: refused
// where nobody listens, timeout where nobody answers. So an endpoint is not ready before its
// engine, and no sooner again when the engine has been away.
func (s *Sidecar) Probe() canary.Probe {
	return func(ctx context.Context) error {
		model, ok := s.monitor.modelName()
		if !ok {
			if err := s.monitor.poll(ctx); err != nil {
				return probeFailure(ctx, err)
			}
			model, _ = s.monitor.modelName()
		}
		probe, err := s.probeFor(model)
		if err != nil {
			return err
		}
		err = probe(ctx)
		if err == nil {
			s.monitor.canaryPassed()
		}
		s.poller.poll() // so that what the canary moved is not taken for a request's doing
		if f, ok := errors.AsType[*dynmesh.Failure](err); ok {
			switch f.Reason {
			case dynmesh.ReasonRefused, dynmesh.ReasonUnreachable, dynmesh.ReasonCut, dynmesh.ReasonStatus:
				s.monitor.invalidate()
			}
		}
		return err
	}
}

// probeFor makes the probe for a model. It holds nothing that would have to be closed.
func (s *Sidecar) probeFor(model string) (canary.Probe, error) {
	body := s.cfg.Payload
	if body == nil {
		var err error
		if body, err = s.engine.Canary(model); err != nil {
			return nil, err
		}
	}
	return canary.HTTP(canary.HTTPConfig{
		URL: s.client.url(s.engine.Path(body, model)), Body: body, Header: s.client.header(), TLS: s.client.tls,
		WantDone: s.engine.EndsInDone,
	})
}
