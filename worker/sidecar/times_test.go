package sidecar

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/worker/engine"
	"github.com/dynmesh/dynmesh/worker/traffic"
)

// How long an engine takes is what its histograms have more than at the reading before.
func TestTimesOfTheEngine(t *testing.T) {
	noon := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	read := func(s sample, after time.Duration, inFlight, tokens, tokenSeconds, firsts, firstSeconds, prompt float64) sample {
		at := noon
		if !s.at.IsZero() {
			at = s.at.Add(after)
		}
		return s.next(engine.Scrape{Totals: engine.Totals{
			engine.InFlight: inFlight, engine.TokenCount: tokens, engine.TokenSeconds: tokenSeconds,
			engine.FirstCount: firsts, engine.FirstSeconds: firstSeconds, engine.PromptTokens: prompt,
		}}, at, false)
	}
	s := read(sample{}, 0, 4, 1000, 20, 10, 5, 3000)
	if s.times != (traffic.Totals{}) {
		t.Errorf("what was before the first reading counts: %+v", s.times)
	}
	s = read(s, time.Second, 4, 1100, 22, 12, 5.5, 3600)
	want := traffic.Totals{
		Token: traffic.Sum{Count: 100, Took: 2 * time.Second}, First: traffic.Sum{Count: 2, Took: 500 * time.Millisecond}, Prompt: 600,
		Running: 3500 * time.Millisecond, Waiting: 500 * time.Millisecond,
	}
	if s.times != want {
		t.Errorf("got %+v, want %+v", s.times, want)
	}
	s = read(s, time.Second, 2, 50, 1, 3, 1, 100) // it began again
	if s.times != want {
		t.Errorf("an engine that began again: got %+v, want %+v", s.times, want)
	}
	s = read(s, 2*maxAge, 2, 500, 10, 30, 10, 1000) // nobody has read meanwhile
	if s.times != want {
		t.Errorf("after a gap: got %+v, want %+v", s.times, want)
	}
	s = read(s, 500*time.Millisecond, 2, 510, 10.2, 30, 10, 1000)
	if want.Token.Count, want.Token.Took, want.Running = 110, 2200*time.Millisecond, 4500*time.Millisecond; s.times.Token.Count != want.Token.Count || s.times.Running != want.Running {
		t.Errorf("got %+v, want %+v", s.times, want)
	}
}
