package quality

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/answers"
	"github.com/dynmesh/dynmesh/internal/logging"
)

// ErrNotNow says that an engine cannot be asked at the moment: it is not known yet, rests, or
// answers a canary. It is asked a little later.
var ErrNotNow = errors.New("not now")

// ErrBrokenOff is ErrNotNow of an engine that was asked, until a canary came: it may have written
// as much as for an answer.
var ErrBrokenOff = fmt.Errorf("%w: broken off by a canary", ErrNotNow)

const (
	tick    = 250 * time.Millisecond // between two looks at an engine that is busy
	later   = time.Second            // after ErrNotNow
	patient = 30 * time.Second       // for an answer

	// untold is after how long real requests are told without an answer of one's own: the engine is
	// never idle.
	untold = time.Minute
)

// Config says which engine is asked, and at what cost.
type Config struct {
	// Budget is in tokens an hour: answers.Least to answers.Most; default answers.Default.
	Budget int

	// Shortest is the least time between two answers, where the budget has room for them. Default
	// answers.Shortest; less is for the phantoms of a drill, which are three for half a minute.
	Shortest time.Duration

	// Revision is a digest of what answers; Ask has it answer a prompt, by number. Both end with their
	// contexts. What they return may wrap ErrNotNow. Required.
	Revision func(context.Context) (uint64, error)
	Ask      func(ctx context.Context, prompt int) (answers.Sample, error)

	// Activity is what real requests do. It must not block. Nil: there are none.
	Activity func() canary.Activity

	// Engine tells the tokens that the engine has made, for whomever, and the requests that it counts
	// as corrupted. Nil, or 0: not known, so that nothing is asked beside real requests.
	Engine func() (tokens, corrupted uint64)

	// Traffic tells how many real requests were answered, and how many of the answers are garbage by
	// themselves. Nil: not known.
	Traffic func() (answered, garbage uint64)

	Log *logrus.Entry // nil discards
}

// Canary asks one engine. Make it with [New]; as a worker.Measurer it runs with the worker.
type Canary struct {
	cfg     Config
	asked   *prometheus.CounterVec
	written prometheus.Counter

	// Of Run.
	schedule  *answers.Pace
	revision  uint64
	told      time.Time
	failing   bool
	answered  uint64 // when it was told last
	garbage   uint64
	corrupted uint64
}

// New checks cfg. Errors name the field that is wrong.
func New(cfg Config) (*Canary, error) {
	if cfg.Budget == 0 {
		cfg.Budget = answers.Default
	}
	if cfg.Budget < answers.Least || cfg.Budget > answers.Most {
		return nil, dynmesh.NewConfigError("quality", "Budget", cfg.Budget, "60 to 360000 tokens an hour")
	}
	if cfg.Shortest == 0 {
		cfg.Shortest = answers.Shortest
	}
	if cfg.Shortest < 0 {
		return nil, dynmesh.NewConfigError("quality", "Shortest", cfg.Shortest, "a duration, or 0 for its default")
	}
	if cfg.Revision == nil || cfg.Ask == nil {
		return nil, dynmesh.NewConfigError("quality", "Ask", nil, "an engine")
	}
	if cfg.Activity == nil {
		cfg.Activity = func() canary.Activity { return canary.Activity{} }
	}
	if cfg.Engine == nil {
		cfg.Engine = func() (uint64, uint64) { return 0, 0 }
	}
	if cfg.Traffic == nil {
		cfg.Traffic = func() (uint64, uint64) { return 0, 0 }
	}
	cfg.Log = logging.OrDiscard(cfg.Log).WithField("component", "quality")
	return &Canary{
		cfg: cfg,
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dynmesh_quality_canaries_total",
			Help: "Quality canaries that were sent: answered, failed, or broken off because a canary or the end of the worker came first.",
		}, []string{"outcome"}),
		written: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dynmesh_quality_canary_tokens_total", Help: "Tokens that the engine wrote for quality canaries.",
		}),
	}, nil
}

// Describe is for Prometheus.
func (c *Canary) Describe(ch chan<- *prometheus.Desc) {
	c.asked.Describe(ch)
	c.written.Describe(ch)
}

// Collect is for Prometheus.
func (c *Canary) Collect(ch chan<- prometheus.Metric) {
	c.asked.Collect(ch)
	c.written.Collect(ch)
}

// Measure says what it measures.
func (*Canary) Measure() dynmesh.Measure { return dynmesh.MeasureAnswers }

// Run asks, and says what is answered, until ctx ends. One at a time may run.
func (c *Canary) Run(ctx context.Context, say func(sample string)) {
	now := time.Now()
	c.schedule, c.told = answers.NewPace(c.cfg.Budget, c.cfg.Shortest, rand.Uint64(), now), now
	c.answered, c.garbage = c.cfg.Traffic()
	_, c.corrupted = c.cfg.Engine()
	timer := time.NewTimer(time.Until(c.schedule.Next()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		// With a small budget the next question is half an hour away, and real requests are told of
		// meanwhile.
		timer.Reset(min(c.step(ctx, say), untold))
	}
}

// step asks the engine, if this is the moment. It returns how long there is nothing to do.
func (c *Canary) step(ctx context.Context, say func(string)) time.Duration {
	now := time.Now()
	a := c.cfg.Activity()
	idle := a.InFlight == 0 && a.Engine == 0
	made, _ := c.cfg.Engine()
	asking, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	if !c.schedule.May(now, idle, made) {
		if now.Sub(c.told) >= untold && !idle {
			c.sayTraffic(asking, now, say)
		}
		return max(tick, time.Until(c.schedule.Next()))
	}
	s, err := c.ask(asking, now)
	switch {
	case ctx.Err() != nil:
		c.asked.WithLabelValues("broken_off").Inc()
		return later
	case errors.Is(err, ErrBrokenOff):
		c.asked.WithLabelValues("broken_off").Inc()
		c.schedule.Asked(time.Now(), idle, nil)
		return time.Until(c.schedule.Next())
	case errors.Is(err, ErrNotNow):
		return later
	case err != nil:
		c.asked.WithLabelValues("failed").Inc()
		c.schedule.Asked(time.Now(), idle, nil)
		if !c.failing {
			c.cfg.Log.WithField("err", err).Info("Quality canary was not answered: nothing is compared until one is")
		}
		c.failing = true
		return time.Until(c.schedule.Next())
	}
	c.failing = false
	c.asked.WithLabelValues("answered").Inc()
	c.written.Add(float64(len(s.Tokens)))
	c.schedule.Asked(time.Now(), idle, &s)
	c.say(s, now, say)
	return time.Until(c.schedule.Next())
}

// ask puts the next prompt.
func (c *Canary) ask(ctx context.Context, now time.Time) (answers.Sample, error) {
	if err := c.revise(ctx, now); err != nil {
		return answers.Sample{}, err
	}
	prompt := c.schedule.Prompt()
	s, err := c.cfg.Ask(ctx, prompt)
	s.Revision, s.Prompt = c.revision, uint8(prompt)
	return s, err
}

// revise finds out what answers now. Another revision begins anew.
func (c *Canary) revise(ctx context.Context, now time.Time) error {
	revision, err := c.cfg.Revision(ctx)
	if err != nil {
		return err
	}
	if c.revision != revision {
		if c.revision != 0 {
			c.schedule.Renew(now)
		}
		c.revision = revision
	}
	return nil
}

// sayTraffic tells of real requests alone. Where it is not known what answers them, that waits for
// the next time.
func (c *Canary) sayTraffic(ctx context.Context, now time.Time, say func(string)) {
	c.told = now
	if c.revise(ctx, now) == nil {
		c.say(answers.Sample{Revision: c.revision, Prompt: answers.NoPrompt, Logprob: answers.NoLogprob}, now, say)
	}
}

// say tells a sample, with what passed since the last.
func (c *Canary) say(s answers.Sample, now time.Time, say func(string)) {
	answered, garbage := c.cfg.Traffic()
	s.Answered, s.Garbage = grown(answered, c.answered), grown(garbage, c.garbage)
	_, corrupted := c.cfg.Engine()
	if corrupted > c.corrupted {
		s.Flaws |= answers.Corrupted
	}
	c.answered, c.garbage, c.corrupted = answered, garbage, corrupted
	c.told = now
	say(s.Encode())
}

func grown(now, before uint64) uint16 {
	if now < before {
		return 0 // it began anew
	}
	return uint16(min(now-before, math.MaxUint16))
}
