package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sirupsen/logrus"
)

// maxModels bounds the list of models, in bytes. An engine with a thousand adapters has some hundred kilobytes of it.
const maxModels = 4 << 20

// pace is how often the engine is asked for what is not a request. Tests have less time than operators.
type pace struct {
	first, last time.Duration // the pauses while it is waited for, from and up to
	timeout     time.Duration
	watch       time.Duration // the pause while it is there
	scrape      time.Duration // of its counters
}

func defaultPace() pace {
	return pace{
		first: 250 * time.Millisecond, last: 5 * time.Second, timeout: 3 * time.Second,
		watch: 10 * time.Second, scrape: time.Second,
	}
}

// watch is what is known of the engine beside its answers to requests.
type watch struct {
	log   *logrus.Entry
	fixed bool          // the model's name is configured
	nudge chan struct{} // somebody found the engine gone, or its model
	first chan struct{} // closed once the engine has answered

	mu      sync.Mutex
	seen    bool // first is closed
	there   bool
	waiting bool // and that has been logged
	stale   bool // the model may be another one by now
	model   string
}

// known returns the model's name. ok is false where the engine must be asked for it.
func (w *watch) known() (model string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.model, w.fixed || w.model != "" && !w.stale
}

// doubt tells that something is wrong with the engine, so that it may have begun anew, with another model.
func (w *watch) doubt() {
	w.mu.Lock()
	w.stale = true
	there := w.there
	w.mu.Unlock()
	if !there {
		return // it is being waited for already, in good time
	}
	select {
	case w.nudge <- struct{}{}:
	default: // somebody was faster
	}
}

// answered takes in that the engine is there. models is empty where it does not list them.
// back says that it was not there before.
func (w *watch) answered(models []string) (back bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, back := w.model, !w.there
	if len(models) > 0 && !slices.Contains(models, w.model) {
		w.model = models[0] // vLLM has the base model first, and adapters after it
	}
	log := w.log.WithField("model", w.model)
	switch {
	case back:
		log.Info("Engine is there")
	case before != w.model:
		log.Info("Engine serves another model")
	}
	w.there, w.waiting, w.stale = true, false, false
	w.see()
	return back
}

// proven takes in that the engine has answered a canary well, whatever it says of its models.
func (w *watch) proven() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.see()
}

// see tells those who wait for the engine's first answer. The caller has the lock.
func (w *watch) see() {
	if !w.seen {
		w.seen = true
		close(w.first)
	}
}

// failed takes in that the engine did not answer well. One that was there, and is slow or failing now, may just be busy:
// only one that nobody listens for is waited for again.
func (w *watch) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.there && !isGone(err) {
		return
	}
	w.there, w.stale = false, true
	if !w.waiting {
		w.waiting = true
		w.log.WithField("err", err).Info("Waiting for the engine")
	}
}

// follow watches the engine until ctx ends.
func (s *Sidecar) follow(ctx context.Context) {
	patience := &backoff.ExponentialBackOff{
		InitialInterval: s.pace.first, MaxInterval: s.pace.last, Multiplier: 2, RandomizationFactor: 0.3,
	}
	patience.Reset()
	for {
		lookCtx, cancel := context.WithTimeout(ctx, s.pace.timeout)
		err := s.look(lookCtx)
		cancel()
		pause := s.pace.watch
		if err != nil { // it is away, or just may be
			pause = patience.NextBackOff()
		} else {
			patience.Reset()
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.watch.nudge:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Find asks the engine which model it serves, as the first canary would: after it, none has to. It returns why that failed.
func (s *Sidecar) Find(ctx context.Context) error { return s.look(ctx) }

// look asks the engine whether it is there, and which model it has, and remembers the answer.
func (s *Sidecar) look(ctx context.Context) error {
	models, err := s.ask(ctx)
	if err != nil {
		err = s.access.hide(err)
		if !errors.Is(ctx.Err(), context.Canceled) { // who asked has left, which says nothing of the engine
			s.watch.failed(err)
		}
		return err
	}
	if s.watch.answered(models) {
		s.cfg.OnSight()
	}
	return nil
}

// ask returns the names that the engine lists, where they are of interest.
func (s *Sidecar) ask(ctx context.Context) (models []string, _ error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url(s.engine.Ready), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask engine: %w", err) // unreachable: the URL has been parsed
	}
	s.access.header(req.Header)
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, bare(err)
	}
	defer resp.Body.Close()
	if s.watch.fixed && s.engine.ListsModels && resp.StatusCode/100 == 4 {
		return nil, nil // it has no list, or none for us, and needs none
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, refused(resp.StatusCode, readSome(resp.Body, end, maxErrorBody, errorWait))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxModels+1))
	if err != nil {
		return nil, err
	}
	if s.watch.fixed || !s.engine.ListsModels {
		return nil, nil
	}
	return readModels(body)
}

// malformed is an answer that is not what it should be.
type malformed struct{ text string }

func (e *malformed) Error() string { return "engine: " + e.text }

// readModels finds the names in OpenAI's list of models.
func readModels(body []byte) (names []string, _ error) {
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, &malformed{fmt.Sprintf("list of models: %v: %s", err, oneLine(body, 80))}
	}
	for _, m := range list.Data {
		if m.ID != "" {
			names = append(names, m.ID)
		}
	}
	if len(names) == 0 {
		return nil, &malformed{fmt.Sprintf("list of models: no name in %s", oneLine(body, 80))}
	}
	return names, nil
}
