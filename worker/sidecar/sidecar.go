package sidecar

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/worker/engine"
	"github.com/dynmesh/dynmesh/worker/traffic"
)

// Sidecar stands in front of one engine. Make it with [New]. All its methods may be called from any
// goroutine. Probe works without Run, which is what keeps Model and Activity up to date, and logs
// when the engine comes and goes.
type Sidecar struct {
	cfg       Config
	client    client
	intervals intervals
	monitor   *monitor
	poller    *poller
	dozed     atomic.Bool // the engine has been seen asleep, and may sleep again
	prompter  *Prompter

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
	s := &Sidecar{cfg: cfg, client: c, intervals: defaultIntervals(), monitor: newMonitor(c, e, cfg)}
	s.poller, s.prompter = newPoller(s.monitor, cfg), &Prompter{sidecar: s}
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
	parts.Go(func() { s.poller.run(ctx, s.intervals.metrics) })
	parts.Go(func() { newTripwire(s.client, s.askAnything, s.trouble, s.monitor.pollSoon, s.cfg.Log).run(ctx) })
	parts.Go(func() { (&health{s.client, s.engine, s.trouble}).run(ctx) })
	s.monitor.run(ctx, s.intervals)
	parts.Wait()
	return nil
}

// Find asks the engine which model it serves, as the first canary would: after it, none has to. It
// returns why that failed.
func (s *Sidecar) Find(ctx context.Context) error { return s.monitor.poll(ctx) }

// Model is the name that the engine serves its model under: Config.Model, or the one found last; ""
// before any was found.
func (s *Sidecar) Model() string { return s.monitor.modelName() }

// Engine is the name of the engine: Config.Engine, or what was found; engine.Auto before that.
func (s *Sidecar) Engine() string {
	found, _ := s.monitor.current()
	return cmp.Or(found.engine.Name, engine.Auto)
}

// Kind is what a canary is; "" before that is known, and where there is nothing to ask for.
func (s *Sidecar) Kind() string {
	found, ok := s.monitor.current()
	if !ok || len(found.kinds) == 0 || len(found.kinds) > 1 && !found.passed {
		return ""
	}
	return found.kinds[0].Name
}

// Answered returns a channel that is closed once the engine has answered for the first time: it has
// told what it serves, or a canary has passed. That is the moment to register the endpoint; whether
// it is ready remains for canaries to say. It stays closed when the engine goes away again.
func (s *Sidecar) Answered() <-chan struct{} { return s.monitor.answered }

// Activity returns what canary.Endpoint.Activity should be. With ActivityMetrics, CountsCanaries
// must be set, too: the engine counts canaries. Else it is traffic's, which is the proxy's, with
// what the engine's counters add: its steps, and how many requests it knows of.
//
// The function does not block. Run reads the counters, twice a second; with ActivityProxy only
// while there are requests, or a canary. Nothing counts that has happened while they could not be
// read, and when they have not been for 2 s, nothing is in flight: what is not known neither
// vouches for the engine nor makes it stall.
func (s *Sidecar) Activity(traffic func() canary.Activity) func() canary.Activity {
	if s.cfg.Activity == ActivityMetrics {
		return s.poller.activity
	}
	return func() canary.Activity {
		a := traffic()
		s.poller.inFlight(a)
		return s.poller.add(a)
	}
}

// Times is how long the engine takes, by its own histograms, while its counters are read: with
// ActivityMetrics always. Canaries are among it.
func (s *Sidecar) Times() traffic.Totals { return s.poller.last.Load().times }

// askAnything asks the engine for something, by a connection of its own.
func (s *Sidecar) askAnything(ctx context.Context) error {
	found, _ := s.monitor.current()
	return s.client.askAnything(ctx, cmp.Or(found.engine.Ready, "/"))
}

func (s *Sidecar) engine() engine.Engine {
	found, _ := s.monitor.current()
	return found.engine
}

// trouble passes a sign on.
func (s *Sidecar) trouble(f *dynmesh.Failure) {
	if f.Reason == dynmesh.ReasonRefused || f.Reason == dynmesh.ReasonDead {
		s.monitor.invalidate()
	}
	s.cfg.OnTrouble(f)
}

// Prompter has the engine answer prompts, never beside a canary.
func (s *Sidecar) Prompter() *Prompter { return s.prompter }

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
// While it is not known what the engine serves it asks for that first, and fails as that fails:
// refused where nobody listens, timeout where nobody answers. So an endpoint is not ready before
// its engine, and no sooner again when the engine has been away. An engine that says that it rests
// is left alone, and so is one that serves nothing a canary could ask for: [canary.Unasked].
func (s *Sidecar) Probe() canary.Probe {
	return func(ctx context.Context) error {
		found, ok := s.monitor.current()
		if !ok {
			err := s.monitor.poll(ctx)
			found, _ = s.monitor.current()
			if err != nil && !s.canAskAnyway(ctx, found, err) {
				return probeFailure(ctx, err)
			}
		}
		if err := s.checkRest(ctx, found); err != nil {
			return err
		}
		defer s.prompter.turns.canary()()
		defer s.poller.canary()()
		err := s.send(ctx, found)
		if err == nil {
			err = s.askRanks(ctx)
		}
		if err == nil {
			s.monitor.canaryPassed()
			s.poller.mark()
		}
		if f, ok := errors.AsType[*dynmesh.Failure](err); ok {
			switch f.Reason {
			case dynmesh.ReasonRefused, dynmesh.ReasonUnreachable, dynmesh.ReasonCut, dynmesh.ReasonStatus:
				s.monitor.invalidate()
			}
		}
		return err
	}
}

// canAskAnyway says whether a canary can be sent to an engine that answers, and does not say what
// it serves: the operator has.
func (s *Sidecar) canAskAnyway(ctx context.Context, found serving, err error) bool {
	return ctx.Err() == nil && s.cfg.Engine != engine.Auto && s.cfg.Model != "" && len(found.kinds) > 0 && !isConnectionRefused(err)
}

// checkRest asks the engine whether it rests. What it says decides whether a canary may be sent.
func (s *Sidecar) checkRest(ctx context.Context, found serving) error {
	a := &inquiry{ctx: ctx, client: s.client, absent: &s.monitor.absent}
	rest, detail := found.engine.Rests(a.ask, found.model)
	s.poller.rests(rest != engine.Awake && rest != engine.Idles)
	if rest == engine.Dozes {
		s.dozed.Store(true)
	}
	if rest == engine.Awake && s.dozed.Load() {
		rest, detail = engine.Idles, "it may fall asleep again"
	}
	switch {
	case rest == engine.Sleeps:
		return &dynmesh.Failure{Reason: dynmesh.ReasonAsleep, Detail: detail}
	case rest == engine.Awake, rest == engine.Idles && s.cfg.Wake:
		return nil
	case rest == engine.Idles:
		if found.passed && !s.poller.hasMoved() {
			return &canary.Unasked{Why: detail + ", and nobody has asked it for anything since its last canary"}
		}
		return nil
	case !s.cfg.Wake:
		return &canary.Unasked{Why: detail}
	}
	canary.Loads(ctx)
	return nil
}

// send sends the first kind of request that the engine does not refuse to serve.
func (s *Sidecar) send(ctx context.Context, found serving) error {
	for len(found.kinds) > 0 {
		probe, err := s.probeFor(found, "")
		if err != nil {
			return err
		}
		err = probe(ctx)
		status, ok := errors.AsType[*canary.StatusError](err)
		if !ok || found.passed || s.cfg.chosen() || !engine.IsUnsupported(status.Status, status.Message) {
			return err
		}
		if len(found.kinds) == 1 && !found.recognized {
			return err
		}
		found = s.monitor.dropKind(found.kinds[0].Name)
	}
	return &canary.Unasked{Why: found.why}
}

// probeFor makes the probe of the likeliest kind, for one of the engines behind the server or, "",
// for any. It holds nothing that would have to be closed.
func (s *Sidecar) probeFor(found serving, rank string) (canary.Probe, error) {
	k := found.kinds[0]
	path, body, err := k.Request(found.model)
	if err != nil {
		return nil, err
	}
	header := s.client.header()
	if rank != "" {
		header.Set(found.engine.RankHeader, rank)
	}
	return canary.HTTP(canary.HTTPConfig{
		URL: s.client.url(path), Body: body, Header: header, TLS: s.client.tls,
		WantDone: k.Streams, Answer: k.Answer, ErrorIn: found.engine.ErrorIn, Want: s.cfg.Expect,
	})
}
