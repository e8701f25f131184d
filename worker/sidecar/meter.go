package sidecar

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/worker/engine"
	"github.com/sirupsen/logrus"
)

// meter reads an engine's counters now and then.
type meter struct {
	client   *http.Client
	url      string
	access   access
	counters engine.Reader
	stepwise bool
	log      *logrus.Entry
	now      chan struct{} // read them now

	last atomic.Pointer[reading]
}

func newMeter(client *http.Client, url string, a access, c engine.Counters, model string, log *logrus.Entry) *meter {
	m := &meter{
		client: client, url: url, access: a, counters: c.Reader(model), stepwise: c.Stepwise,
		log: log, now: make(chan struct{}, 1),
	}
	m.last.Store(&reading{})
	return m
}

// activity may be called while run runs.
func (m *meter) activity() canary.Activity { return m.last.Load().tell(time.Now()) }

// hurry has the counters read soon. A nil meter has nothing to read.
func (m *meter) hurry() {
	if m == nil {
		return
	}
	select {
	case m.now <- struct{}{}:
	default: // they will be
	}
}

// run reads the counters until ctx ends. It is the only one that does.
func (m *meter) run(ctx context.Context, every time.Duration) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for failing := false; ; {
		at := time.Now()
		t, err := m.scrape(ctx, every)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			next := m.last.Load().next(t, at, m.stepwise)
			m.last.Store(&next)
			if failing {
				failing = false
				m.log.Info("Engine's metrics can be read again")
			}
		case !failing && !isGone(err): // that the engine is gone is said elsewhere
			failing = true
			m.log.WithField("err", err).Warn("Engine's metrics cannot be read: its activity is unknown")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		case <-m.now:
		}
	}
}

// scrape asks for the counters once.
func (m *meter) scrape(ctx context.Context, within time.Duration) (engine.Totals, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url, http.NoBody)
	if err != nil {
		return engine.Totals{}, fmt.Errorf("read metrics: %w", err) // unreachable: the URL has been parsed
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	m.access.header(req.Header)
	resp, err := m.client.Do(req)
	if err != nil {
		return engine.Totals{}, fmt.Errorf("read metrics: %w", bare(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return engine.Totals{}, fmt.Errorf("read metrics: status %d", resp.StatusCode)
	}
	t, err := m.counters.Read(resp.Body)
	if err != nil {
		return engine.Totals{}, fmt.Errorf("read metrics: %w", err)
	}
	return t, nil
}
