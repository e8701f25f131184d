package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/worker/engine"
)

// Sidecar stands in front of one engine. Make it with [New]. All its methods may be called from any goroutine. Generate and Probe
// work without Run, which is what keeps Model and Activity up to date, and logs when the engine comes and goes.
type Sidecar struct {
	cfg    Config
	engine engine.Engine
	base   *url.URL
	access access
	client *http.Client
	pace   pace
	watch  watch
	meter  *meter // nil: the activity is the proxy's

	mu  sync.Mutex
	ran bool
}

// New checks cfg. It asks nothing of the engine. Errors name the field that is wrong.
func New(cfg Config) (*Sidecar, error) {
	settled, e, base, err := cfg.settle()
	if err != nil {
		return nil, fmt.Errorf("new sidecar: %w", err)
	}
	a, err := newAccess(settled)
	if err != nil {
		return nil, fmt.Errorf("new sidecar: %w", err)
	}
	s := &Sidecar{cfg: settled, engine: e, base: base, access: a, client: newClient(a.trust), pace: defaultPace()}
	s.watch = watch{log: settled.Log, fixed: settled.Model != "", model: settled.Model, nudge: make(chan struct{}, 1), first: make(chan struct{})}
	if settled.Activity == ActivityMetrics {
		s.meter = newMeter(s.client, settled.Metrics, a.metrics(base, settled.Metrics), e.Counters, settled.Model, settled.Log)
	}
	return s, nil
}

// Run waits for the engine and watches it, and reads its counters where the configuration says so, until ctx ends. Then
// it returns nil. It fails only when it is called twice. Requests that Generate still passes on are their callers' to end.
func (s *Sidecar) Run(ctx context.Context) error {
	s.mu.Lock()
	ran := s.ran
	s.ran = true
	s.mu.Unlock()
	if ran {
		return errors.New("run sidecar: it ran already")
	}
	defer s.client.CloseIdleConnections()
	var parts sync.WaitGroup
	if s.meter != nil {
		parts.Go(func() { s.meter.run(ctx, s.pace.scrape) })
	}
	s.follow(ctx)
	parts.Wait()
	return nil
}

// Model is the name that the engine serves its model under: Config.Model, or the one found last; "" before any was found.
func (s *Sidecar) Model() string {
	model, _ := s.watch.known()
	return model
}

// Answered returns a channel that is closed once the engine has answered for the first time: it has told what it serves, or a
// canary has passed. That is the moment to register the endpoint; whether it is ready remains for canaries to say. It
// stays closed when the engine goes away again.
func (s *Sidecar) Answered() <-chan struct{} { return s.watch.first }

// Activity returns what canary.Endpoint.Activity should be when Config.Activity is ActivityMetrics, and CountsCanaries must be
// set then: the engine counts canaries, too. It is nil otherwise: the worker's own counters are the ones to use.
//
// The function does not block. Run reads the counters every second. Nothing counts that has happened while they could not
// be read, and when they have not been for 2 s, nothing is in flight: what is not known neither vouches for the engine nor
// makes it stall.
func (s *Sidecar) Activity() func() canary.Activity {
	if s.meter == nil {
		return nil
	}
	return s.meter.activity
}

// url is that of one of the engine's routes, whose path is escaped already.
func (s *Sidecar) url(path string) string { return engine.URL(s.base, path) }
