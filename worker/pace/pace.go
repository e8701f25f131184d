package pace

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/speed"
	"github.com/dynmesh/dynmesh/worker/traffic"
)

const (
	// Window is how long a window is, where the mesh is not large.
	Window = 15 * time.Second

	// samplesASecond is how many all members together may say.
	samplesASecond = 50

	maxWindow = 2 * time.Minute
)

// Config is what a [Measurer] goes by.
type Config struct {
	// Times is how long requests have taken so far. It is called from one goroutine, once a window.
	Times func() traffic.Totals

	// CountsCanaries: canaries are among Times, as engines count them.
	CountsCanaries bool

	Members func() int    // of the mesh; nil: few
	Window  time.Duration // default Window; in a large mesh it is longer
}

// Measurer measures one endpoint. Its methods may be called from any goroutine.
type Measurer struct {
	cfg Config

	mu       sync.Mutex
	canaries traffic.Sum // that passed, since the beginning
}

// New returns a measurer.
func New(cfg Config) *Measurer {
	if cfg.Window == 0 {
		cfg.Window = Window
	}
	return &Measurer{cfg: cfg}
}

// Measure says what it measures.
func (m *Measurer) Measure() dynmesh.Measure { return dynmesh.MeasurePace }

// Probe has the canaries of a probe measured.
func (m *Measurer) Probe(probe canary.Probe) canary.Probe {
	return func(ctx context.Context) error {
		began := time.Now()
		err := probe(ctx)
		if err == nil {
			m.mu.Lock()
			m.canaries.Count++
			m.canaries.Took += time.Since(began)
			m.mu.Unlock()
		}
		return err
	}
}

// totals are all sums at one moment.
type totals struct {
	traffic.Totals
	canary traffic.Sum
	at     time.Time
}

func (m *Measurer) totals() totals {
	t := totals{Totals: m.cfg.Times(), at: time.Now()}
	m.mu.Lock()
	defer m.mu.Unlock()
	t.canary = m.canaries
	return t
}

// window is how long the next one is.
func (m *Measurer) window() time.Duration {
	if m.cfg.Members == nil {
		return m.cfg.Window
	}
	return max(m.cfg.Window, min(time.Duration(m.cfg.Members())*time.Second/samplesASecond, maxWindow))
}

// Run says each sample until ctx ends. Workers that start together do not say theirs together.
func (m *Measurer) Run(ctx context.Context, say func(sample string)) {
	window := m.window()
	timer := time.NewTimer(window/2 + rand.N(window/2))
	defer timer.Stop()
	for before := m.totals(); ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(m.window())
		now := m.totals()
		if s := now.since(before, m.cfg.CountsCanaries); !s.Empty() {
			say(s.Encode())
		}
		before = now
	}
}

// since returns what was measured from before until now.
func (t totals) since(before totals, countsCanaries bool) speed.Sample {
	var s speed.Sample
	window := t.at.Sub(before.at)
	if window <= 0 { // the machine was suspended
		return s
	}
	mean := func(now, before traffic.Sum) speed.Mean {
		count := now.Count - before.Count
		if count == 0 {
			return speed.Mean{}
		}
		return speed.Mean{Count: count, Took: (now.Took - before.Took) / time.Duration(count)}
	}
	s.Window = window
	s.Running = max((t.Running-before.Running).Seconds()/window.Seconds(), 0)
	s.Waiting = max((t.Waiting-before.Waiting).Seconds()/window.Seconds(), 0)
	s.Took[speed.Token] = mean(t.Token, before.Token)
	s.Took[speed.First] = mean(t.First, before.First)
	s.Took[speed.Whole] = mean(t.Whole, before.Whole)
	canaries := mean(t.canary, before.canary)
	firsts := s.Took[speed.First].Count
	if countsCanaries && firsts <= canaries.Count {
		s.Took[speed.First], firsts = speed.Mean{}, 0
	}
	if firsts > 0 {
		s.Prompt = float64(t.Prompt-before.Prompt) / float64(firsts)
	}
	if s.Empty() {
		s.Took[speed.Canary] = canaries
	}
	return s
}
