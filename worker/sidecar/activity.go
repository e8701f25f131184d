package sidecar

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/worker/engine"
)

const (
	// maxAge is how old a sample may be to say anything.
	maxAge = 2 * time.Second

	// gaugeTrust is how long the gauges of a stepwise engine are beyond doubt, after something has
	// moved.
	gaugeTrust = 10 * time.Second
)

// poller reads an engine's counters now and then.
type poller struct {
	client   client
	url      string
	counters engine.Reader
	stepwise bool
	log      *logrus.Entry
	pollNow  chan struct{}

	last atomic.Pointer[sample]
}

func newPoller(c client, counters engine.Counters, cfg Config) *poller {
	p := &poller{
		client: c.withoutKeyFor(cfg.Metrics), url: cfg.Metrics, counters: counters.Reader(cfg.Model),
		stepwise: counters.Stepwise, log: cfg.Log, pollNow: make(chan struct{}, 1),
	}
	p.last.Store(&sample{})
	return p
}

// activity may be called while run runs.
func (p *poller) activity() canary.Activity { return p.last.Load().activityAt(time.Now()) }

// poll has the counters read soon. A nil poller has nothing to read.
func (p *poller) poll() {
	if p == nil {
		return
	}
	select {
	case p.pollNow <- struct{}{}:
	default: // they will be
	}
}

// run reads the counters until ctx ends. It is the only one that does.
func (p *poller) run(ctx context.Context, every time.Duration) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for failing := false; ; {
		at := time.Now()
		scrape, err := p.read(ctx, every)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			next := p.last.Load().next(scrape, at, p.stepwise)
			p.last.Store(&next)
			if failing {
				failing = false
				p.log.Info("Engine's metrics can be read again")
			}
		case !failing && !isConnectionRefused(err): // that the engine is gone is said elsewhere
			failing = true
			p.log.WithField("err", text.Error(p.client.redact(err), maxText)).Warn("Engine's metrics cannot be read: its activity is unknown")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		case <-p.pollNow:
		}
	}
}

// read asks for the counters once.
func (p *poller) read(ctx context.Context, timeout time.Duration) (engine.Scrape, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := p.client.get(ctx, p.url, "text/plain;version=0.0.4")
	if err != nil {
		return engine.Scrape{}, fmt.Errorf("read metrics: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return engine.Scrape{}, fmt.Errorf("read metrics: status %d", resp.StatusCode)
	}
	scrape, err := p.counters.Read(resp.Body)
	if err != nil {
		return engine.Scrape{}, fmt.Errorf("read metrics: %w", err)
	}
	return scrape, nil
}

// sample is what is known of an engine's activity from its counters. It is a value: next takes one
// and returns the next.
type sample struct {
	at       time.Time // when the engine was asked for the scrape; zero before the first time
	scrape   engine.Scrape
	moved    time.Time // when it last stepped
	activity canary.Activity
}

// next takes in new totals. What has happened between two samples counts only if they are close
// together: across a gap, a canary may have come and gone, and it would vouch for itself. Totals
// that went back are those of an engine that began again, and are where counting goes on from.
func (s sample) next(scrape engine.Scrape, at time.Time, stepwise bool) sample {
	n := sample{at: at, scrape: scrape, moved: s.moved, activity: s.activity}
	n.activity.StepsInPrefill = scrape.StepsInPrefill
	if !s.at.IsZero() && scrape.Stepped(s.scrape) {
		n.moved = at
		n.activity.Steps++
	}
	totals := scrape.Totals
	var grown [len(totals)]uint64
	restarted := s.at.IsZero() || at.Sub(s.at) > maxAge
	for _, q := range []engine.Quantity{engine.Tokens, engine.Completed, engine.Aborted, engine.Failed} {
		restarted = restarted || totals[q] < s.scrape.Totals[q]
		grown[q] = uint64(max(totals[q]-s.scrape.Totals[q], 0))
	}
	if !restarted {
		ended := grown[engine.Completed] + grown[engine.Failed] + grown[engine.Aborted]
		a := &n.activity
		a.Completed += grown[engine.Completed]
		a.Errors += grown[engine.Failed]
		a.Failed += grown[engine.Failed] + grown[engine.Aborted]
		a.Progress += grown[engine.Tokens] + ended
	}
	n.activity.InFlight = uint64(max(totals[engine.InFlight], totals[engine.Queued]))
	// Either a long step, such as a prefill, or the last one of an engine that has been idle since.
	n.activity.StaleGauges = stepwise && n.activity.InFlight > 0 && at.Sub(n.moved) > gaugeTrust
	return n
}

// activityAt is the activity as it may be relied on by now.
func (s sample) activityAt(now time.Time) canary.Activity {
	a := s.activity
	if now.Sub(s.at) > maxAge {
		a.InFlight, a.StaleGauges = 0, false
	}
	return a
}
