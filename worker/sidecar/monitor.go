package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/worker/engine"
)

const (
	// maxModels bounds the list of models, in bytes. An engine with a thousand adapters has some
	// hundred kilobytes of it.
	maxModels = 4 << 20

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
		poll: 10 * time.Second, metrics: time.Second,
	}
}

// monitor knows whether an engine is there, and which model it serves.
type monitor struct {
	client   client
	engine   engine.Engine
	fixed    bool // the model's name is configured
	onSight  func()
	log      *logrus.Entry
	pollNow  chan struct{} // somebody found the engine gone, or its model
	answered chan struct{} // closed once the engine has answered

	mu           sync.Mutex
	everAnswered bool // answered is closed
	present      bool
	waiting      bool // for the engine, and that has been logged
	stale        bool // the model may be another one by now
	model        string
}

func newMonitor(c client, e engine.Engine, cfg Config) *monitor {
	return &monitor{
		client: c, engine: e, fixed: cfg.Model != "", model: cfg.Model, onSight: cfg.OnSight, log: cfg.Log,
		pollNow: make(chan struct{}, 1), answered: make(chan struct{}),
	}
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

// poll asks the engine whether it is there, and which model it has, and remembers the answer.
func (m *monitor) poll(ctx context.Context) error {
	models, err := m.listModels(ctx)
	if err != nil {
		err = m.client.redact(err)
		if !errors.Is(ctx.Err(), context.Canceled) { // who asked has left, which says nothing of the engine
			m.pollFailed(err)
		}
		return err
	}
	if m.pollSucceeded(models) {
		m.onSight()
	}
	return nil
}

// modelName returns the model's name. ok is false where the engine must be asked for it.
func (m *monitor) modelName() (name string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.model, m.fixed || m.model != "" && !m.stale
}

// invalidate tells that something is wrong with the engine, so that it may have begun anew, with
// another model.
func (m *monitor) invalidate() {
	m.mu.Lock()
	m.stale = true
	present := m.present
	m.mu.Unlock()
	if !present {
		return // it is being waited for already, in good time
	}
	select {
	case m.pollNow <- struct{}{}:
	default: // somebody was faster
	}
}

// pollSucceeded takes in that the engine is there. models is empty where it does not list them.
// appeared says that it was not there before.
func (m *monitor) pollSucceeded(models []string) (appeared bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, appeared := m.model, !m.present
	if len(models) > 0 && !slices.Contains(models, m.model) {
		m.model = models[0] // vLLM has the base model first, and adapters after it
	}
	log := m.log.WithField("model", m.model)
	switch {
	case appeared:
		log.Info("Engine is there")
	case before != m.model:
		log.Info("Engine serves another model")
	}
	m.present, m.waiting, m.stale = true, false, false
	m.setAnswered()
	return appeared
}

// canaryPassed takes in that the engine has answered a canary well, whatever it says of its models.
func (m *monitor) canaryPassed() {
	m.mu.Lock()
	defer m.mu.Unlock()
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

// listModels returns the names that the engine lists, where they are of interest.
func (m *monitor) listModels(ctx context.Context) (names []string, _ error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := m.client.get(ctx, m.client.url(m.engine.Ready), "")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if m.fixed && m.engine.ListsModels && resp.StatusCode/100 == 4 {
		return nil, nil // it has no list, or none for us, and needs none
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, newStatusError(resp.StatusCode, readPrefix(resp.Body, cancel, maxErrorBody, errorWait))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxModels+1))
	if err != nil {
		return nil, err
	}
	if m.fixed || !m.engine.ListsModels {
		return nil, nil
	}
	return parseModels(body)
}

// malformedError is an answer that is not what it should be.
type malformedError struct{ text string }

func (e *malformedError) Error() string { return "engine: " + e.text }

// parseModels finds the names in OpenAI's list of models. A name that does not fit a log line and a
// request's path is none.
func parseModels(body []byte) (names []string, _ error) {
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, &malformedError{text.Line(fmt.Sprintf("list of models: %v: %s", err, excerpt(body)), maxText)}
	}
	for _, m := range list.Data {
		if m.ID != "" && text.Line(m.ID, maxModelName) == m.ID {
			names = append(names, m.ID)
		}
	}
	if len(names) == 0 {
		return nil, &malformedError{fmt.Sprintf("list of models: no name in %s", excerpt(body))}
	}
	return names, nil
}
