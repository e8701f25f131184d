package sidecar

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/worker/engine"
)

const (
	maxErrorBody = 64 << 10
	errorWait    = 2 * time.Second // for the text of an error, once its status is there

	maxModelName = 512 // bytes; the longest of a model hub have some hundred
)

// intervals say how often the engine is asked for what is not a request. Tests have less time than
// operators.
type intervals struct {
	firstRetry, lastRetry time.Duration // while the engine is waited for, from and up to
	timeout               time.Duration
	poll                  time.Duration // while it is there
	metrics               time.Duration // between two readings of its counters
}

func defaultIntervals() intervals {
	return intervals{
		firstRetry: 250 * time.Millisecond, lastRetry: 5 * time.Second, timeout: 3 * time.Second,
		poll: 10 * time.Second, metrics: time.Second / 2,
	}
}

// monitor knows whether an engine is there, which it is, and what it serves.
type monitor struct {
	client   client
	cfg      Config
	auto     bool          // which engine it is is to be found out,
	engine   engine.Engine // else it is this one
	fixed    bool          // the model's name is configured
	absent   absent
	log      *logrus.Entry
	pollNow  chan struct{} // somebody found the engine gone, or what it serves
	answered chan struct{} // closed once the engine has answered

	mu           sync.Mutex
	everAnswered bool // answered is closed
	present      bool
	waiting      bool   // for the engine, and that has been logged
	stale        bool   // what it serves may be something else by now
	appeared     uint64 // how often the engine came
	found        serving
}

func newMonitor(c client, e engine.Engine, cfg Config) *monitor {
	return &monitor{
		client: c, cfg: cfg, auto: cfg.Engine == engine.Auto, engine: e, fixed: cfg.Model != "", log: cfg.Log,
		found: beforehand(e, cfg), stale: true,
		pollNow: make(chan struct{}, 1), answered: make(chan struct{}),
	}
}

// beforehand is what is known of an engine that nobody has asked.
func beforehand(e engine.Engine, cfg Config) serving {
	s := serving{engine: e, model: cfg.Model, recognized: true}
	if e.Name != "" && (cfg.Model != "" || cfg.chosen()) {
		s.kinds, _ = cfg.kinds(func(string) engine.Answer { return engine.Answer{} }, e, cfg.Model) // else it has to be asked
	}
	return s
}

// run watches the engine until ctx ends.
func (m *monitor) run(ctx context.Context, every intervals) {
	retries := &backoff.ExponentialBackOff{
		InitialInterval: every.firstRetry, MaxInterval: every.lastRetry, Multiplier: 2, RandomizationFactor: 0.3,
	}
	retries.Reset()
	for {
		pollCtx, cancel := context.WithTimeout(ctx, every.timeout)
		err := m.poll(pollCtx)
		cancel()
		pause := every.poll
		if err != nil { // it is away, or just may be
			pause = retries.NextBackOff()
		} else {
			retries.Reset()
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-m.pollNow:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// poll asks the engine whether it is there, and what it serves, and remembers the answer.
func (m *monitor) poll(ctx context.Context) error {
	found, err := m.find(ctx, m.known())
	if err != nil {
		err = m.client.redact(err)
		if !errors.Is(ctx.Err(), context.Canceled) { // who asked has left, which says nothing of the engine
			m.pollFailed(err)
		}
		return err
	}
	if m.pollSucceeded(found) {
		m.absent.clear() // another may have come
		m.cfg.OnSight()
	}
	return nil
}

// known is the engine, as far as it need not be found out.
func (m *monitor) known() engine.Engine {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.auto {
		return m.engine
	}
	if m.present && !m.stale {
		return m.found.engine
	}
	return engine.Engine{}
}

// current is what is known of the engine. ok is false where it must be asked first.
func (m *monitor) current() (found serving, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.found, !m.stale
}

// appearance is current, and which of the engine's appearances that is.
func (m *monitor) appearance() (found serving, n uint64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.found, m.appeared, !m.stale
}

// modelName returns the model's name; "" where it is not known.
func (m *monitor) modelName() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.found.model
}

// dropKind takes in that the engine does not serve a kind, and returns what is left.
func (m *monitor) dropKind(name string) serving {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.found = m.found.without(name)
	return m.found
}

// invalidate tells that something is wrong with the engine, so that it may have begun anew, with
// another model.
func (m *monitor) invalidate() {
	m.mu.Lock()
	m.stale = true
	present := m.present
	m.mu.Unlock()
	if present { // else it is being waited for already, in good time
		m.pollSoon()
	}
}

// pollSoon has the engine asked without a pause.
func (m *monitor) pollSoon() {
	select {
	case m.pollNow <- struct{}{}:
	default: // somebody was faster
	}
}

// pollSucceeded takes in what the engine is and serves. appeared says that it was not there before.
func (m *monitor) pollSucceeded(found serving) (appeared bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, appeared := m.found, !m.present
	if !m.stale && before.engine.Name == found.engine.Name && before.model == found.model {
		found.kinds, found.passed, found.why = before.kinds, before.passed, before.why // some may have been refused
	}
	log := m.log.WithField("engine", found.engine.Name).WithField("model", found.model)
	switch {
	case appeared:
		log.Info("Engine is there")
	case before.model != found.model:
		log.Info("Engine serves another model")
	}
	if appeared {
		m.appeared++
	}
	m.found, m.present, m.waiting, m.stale = found, true, false, false
	m.setAnswered()
	return appeared
}

// canaryPassed takes in that the engine has answered a canary well, whatever it says of its models.
func (m *monitor) canaryPassed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.found.passed = true
	m.setAnswered()
}

// setAnswered tells those who wait for the engine's first answer. The caller has the lock.
func (m *monitor) setAnswered() {
	if !m.everAnswered {
		m.everAnswered = true
		close(m.answered)
	}
}

// pollFailed takes in that the engine did not answer well. One that was there, and is slow or
// failing now, may just be busy: only one that nobody listens for is waited for again.
func (m *monitor) pollFailed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.present && !isConnectionRefused(err) {
		return
	}
	m.present, m.stale = false, true
	if !m.waiting {
		m.waiting = true
		m.log.WithField("err", text.Error(err, maxText)).Info("Waiting for the engine")
	}
}

// malformedError is an answer that is not what it should be.
type malformedError struct{ text string }

func (e *malformedError) Error() string { return "engine: " + e.text }
