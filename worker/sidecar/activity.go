package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/worker/engine"
	"github.com/dynmesh/dynmesh/worker/traffic"
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
	monitor *monitor
	always  bool   // they are the endpoint's activity; else they are read when there is something to see
	url     string // as configured
	note    func(string)
	log     *logrus.Entry
	pollNow chan struct{}

	canaries atomic.Int64 // under way
	requests atomic.Bool  // there are some

	progress, marked atomic.Uint64 // of requests: now, and at the last canary that passed

	resting atomic.Bool // by the engine's own word
	problem atomic.Pointer[string]
	last    atomic.Pointer[sample]
}

func newPoller(m *monitor, cfg Config) *poller {
	p := &poller{
		monitor: m, always: cfg.Activity == ActivityMetrics, url: cfg.Metrics, note: cfg.OnNote, log: cfg.Log, pollNow: make(chan struct{}, 1),
	}
	p.resting.Store(true) // for all that is known
	p.last.Store(&sample{})
	return p
}

// activity may be called while run runs.
func (p *poller) activity() canary.Activity { return p.last.Load().activityAt(time.Now()) }

// add adds what the counters say of the engine to what is known of requests.
func (p *poller) add(a canary.Activity) canary.Activity {
	own := p.activity()
	a.Engine, a.Steps, a.StepsInPrefill, a.Still = own.InFlight, own.Steps, own.StepsInPrefill, own.Still
	return a
}

// poll has the counters read soon.
func (p *poller) poll() {
	select {
	case p.pollNow <- struct{}{}:
	default: // they will be
	}
}

// inFlight tells of requests, so that it is known whether there is something to see.
func (p *poller) inFlight(a canary.Activity) {
	p.progress.Store(a.Progress)
	if some := a.InFlight > 0; p.requests.Swap(some) != some {
		p.poll()
	}
}

// mark takes note of where requests are; hasMoved says whether there were any since. Where only the
// engine counts them, canaries are among them, and there always were.
func (p *poller) mark() { p.marked.Store(p.progress.Load()) }

func (p *poller) hasMoved() bool { return p.always || p.progress.Load() != p.marked.Load() }

// canary tells that one is under way, until its end is told. What it moved is seen then, before it
// may be taken for a request's doing.
func (p *poller) canary() (end func()) {
	p.canaries.Add(1)
	p.poll()
	return func() {
		p.canaries.Add(-1)
		p.poll()
	}
}

// rests tells whether the engine does.
func (p *poller) rests(yes bool) { p.resting.Store(yes) }

// source is where and how the counters of an engine are read.
type source struct {
	engine, model string
	counters      engine.Counters
	url           string // "" where there are none
	client        client
	reader        engine.Reader
}

// sourceOf keeps to before, where it is of the same.
func (p *poller) sourceOf(found serving, before source) source {
	if before.engine == found.engine.Name && before.model == found.model {
		return before
	}
	s := source{engine: found.engine.Name, model: found.model, counters: found.engine.Counters, url: p.url}
	if len(s.counters.Series) == 0 {
		s.url = ""
		return s
	}
	if s.url == "" {
		s.url = s.counters.URL(p.monitor.client.root, found.model)
	}
	s.client, s.reader = p.monitor.client.withoutKeyFor(s.url), s.counters.Reader(found.model)
	return s
}

// lingers is how long the counters are read on when there is nothing to see any more: what clients
// that have left began may go on.
const lingers = 2 * time.Second

// run reads the counters until ctx ends. It is the only one that does.
func (p *poller) run(ctx context.Context, every time.Duration) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	var from source
	var seen, took time.Time // when there was last something to see, and the last reading
	for {
		some := p.requests.Load() || p.canaries.Load() > 0
		if some {
			seen = time.Now()
		}
		found, _ := p.monitor.current()
		from = p.sourceOf(found, from)
		pace := from.counters.Every
		wanted := p.always || some && time.Since(took) >= pace || pace == 0 && time.Since(seen) < lingers
		// A request has woken it.
		mayBeRead := !from.counters.Wakes || !p.resting.Load() || p.requests.Load()
		if from.url != "" && mayBeRead && wanted {
			took = time.Now()
			p.take(ctx, from, took, every)
		} else if p.always && from.url == "" && from.engine != "" {
			p.failed(from, errNoCounters)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		case <-p.pollNow:
		}
	}
}

// take reads the counters once, and says where that changes whether they can be. at is now.
func (p *poller) take(ctx context.Context, from source, at time.Time, every time.Duration) {
	scrape, err := from.read(ctx, max(every, minReadTimeout))
	switch {
	case ctx.Err() != nil:
	case err == nil:
		next := p.last.Load().next(scrape, at, from.counters.Stepwise)
		p.last.Store(&next)
		if p.problem.Swap(nil) != nil {
			p.log.Info("Engine's counters can be read again")
			p.note("")
		}
	case isConnectionRefused(err): // that the engine is gone is said elsewhere
	case from.counters.Wakes && isStatus(err, http.StatusBadRequest): // its model is not loaded
	default:
		p.failed(from, from.client.redact(err))
	}
}

// errNoCounters is of engines without.
var errNoCounters = errors.New("none are known of this engine")

// failed says why the counters cannot be read, where that is news.
func (p *poller) failed(from source, err error) {
	why := text.Error(err, maxText)
	if p.problem.Swap(&why) != nil {
		return
	}
	if p.always || !from.counters.Optional {
		p.note("the engine's counters cannot be read: " + why)
	}
	log := p.log.WithField("err", why)
	if from.counters.Hint != "" {
		log = log.WithField("hint", from.counters.Hint)
	}
	switch {
	case p.always:
		log.Warn("Engine's counters cannot be read: its activity is unknown")
	case from.counters.Optional:
		log.Debug("Engine's counters cannot be read")
	default:
		log.Info("Engine's counters cannot be read: that it hangs is found later")
	}
}

// countersStatus is the status of an answer without counters.
type countersStatus int

func (s countersStatus) Error() string { return fmt.Sprintf("status %d", int(s)) }

func isStatus(err error, status int) bool {
	is, ok := errors.AsType[countersStatus](err)
	return ok && int(is) == status
}

// minReadTimeout is for engines that are busy: llama.cpp answers between two batches.
const minReadTimeout = time.Second

// read asks for the counters once.
func (s source) read(ctx context.Context, timeout time.Duration) (engine.Scrape, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := s.client.get(ctx, s.url, "text/plain;version=0.0.4")
	if err != nil {
		return engine.Scrape{}, fmt.Errorf("read counters: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return engine.Scrape{}, fmt.Errorf("read counters: %w", countersStatus(resp.StatusCode))
	}
	scrape, err := s.reader.Read(resp.Body)
	if err != nil {
		return engine.Scrape{}, fmt.Errorf("read counters: %w", err)
	}
	return scrape, nil
}

// sample is what is known of an engine's activity from its counters. It is a value: next takes one
// and returns the next.
type sample struct {
	at       time.Time // when the engine was asked for the scrape; zero before the first time
	scrape   engine.Scrape
	moved    time.Time // when it last stepped
	ranks    ranksMoved
	activity canary.Activity
	times    traffic.Totals // what the engine's histograms have of what happened between samples
}

// next takes in new totals. What has happened between two samples counts only if they are close
// together: across a gap, a canary may have come and gone, and it would vouch for itself. Totals
// that went back are those of an engine that began again, and are where counting goes on from.
func (s sample) next(scrape engine.Scrape, at time.Time, stepwise bool) sample {
	n := sample{at: at, scrape: scrape, moved: s.moved, activity: s.activity, times: s.times}
	n.activity.StepsInPrefill = scrape.StepsInPrefill
	n.ranks = s.ranks.next(s.scrape, scrape, at, s.at.IsZero() || at.Sub(s.at) > maxAge)
	n.activity.Still = n.ranks.still(at)
	if !s.at.IsZero() && scrape.Stepped(s.scrape.Totals) {
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
		n.time(s)
	}
	n.activity.InFlight = uint64(max(totals[engine.InFlight], totals[engine.Queued]))
	// Either a long step, such as a prefill, or the last one of an engine that has been idle since.
	n.activity.StaleGauges = stepwise && n.activity.InFlight > 0 && at.Sub(n.moved) > gaugeTrust
	return n
}

// time adds how long the engine took for what it did since the sample before.
func (s *sample) time(before sample) {
	var grown engine.Totals
	for q := range grown {
		if grown[q] = s.scrape.Totals[q] - before.scrape.Totals[q]; grown[q] < 0 && engine.Quantity(q) >= engine.TokenCount {
			return // it began again, and had not counted anything else
		}
	}
	seconds := func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
	t := &s.times
	t.Token.Count += uint64(grown[engine.TokenCount])
	t.Token.Took += seconds(grown[engine.TokenSeconds])
	t.First.Count += uint64(grown[engine.FirstCount])
	t.First.Took += seconds(grown[engine.FirstSeconds])
	t.Prompt += uint64(grown[engine.PromptTokens])
	waited := seconds(grown[engine.FirstSeconds])
	inFlight := max(s.scrape.Totals[engine.InFlight], s.scrape.Totals[engine.Queued])
	t.Waiting += waited
	t.Running += seconds(inFlight*s.at.Sub(before.at).Seconds()) - waited // of an answer that has begun, all its wait at once
}

// activityAt is the activity as it may be relied on by now.
func (s sample) activityAt(now time.Time) canary.Activity {
	a := s.activity
	if now.Sub(s.at) > maxAge {
		a.InFlight, a.StaleGauges, a.Still = 0, false, ""
	}
	return a
}
