package speed

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestSample(t *testing.T) {
	full := Sample{
		Window: 15 * time.Second, Running: 8.25, Waiting: 0.5, Prompt: 1200,
		Took: [Kinds]Mean{Token: {4000, 21_500 * time.Microsecond}, First: {40, 310 * time.Millisecond}, Whole: {900, 20 * time.Millisecond}, Canary: {2, 55 * time.Millisecond}},
	}
	for _, s := range []Sample{full, {Window: time.Second}, {Window: time.Second, Took: [Kinds]Mean{Canary: {1, time.Millisecond}}}} {
		text := s.Encode()
		got, err := Parse(text)
		if err != nil || got != s {
			t.Errorf("got %+v, %v; want %+v", got, err, s)
		}
		if later, err := Parse(text + "\x07"); err != nil || later != s {
			t.Errorf("with what a later version adds: got %+v, %v", later, err)
		}
		for n := range len(text) {
			if _, err := Parse(text[:n]); err == nil {
				t.Errorf("the first %d of %d bytes are taken for a sample", n, len(text))
			}
		}
	}
	if n := len(full.Encode()); n > 40 {
		t.Errorf("an ordinary sample has %d bytes", n)
	}
	if (Sample{Window: time.Second}).Empty() == full.Empty() {
		t.Error("a sample of nothing and one of everything are as empty")
	}
}

// Whatever is measured, it fits, and what does not fit is the bound.
func TestSampleIsBounded(t *testing.T) {
	huge := Sample{Window: math.MaxInt64, Running: math.Inf(1), Waiting: math.MaxFloat64, Prompt: math.Inf(1)}
	for k := range huge.Took {
		huge.Took[k] = Mean{math.MaxUint64, math.MaxInt64}
	}
	text := huge.Encode()
	if len(text) > MaxBytes {
		t.Errorf("%d bytes", len(text))
	}
	if s, err := Parse(text); err != nil || s.Running != maxLoad || s.Took[Token].Took != maxTook || s.Window != maxWindow {
		t.Errorf("got %+v, %v", s, err)
	}
	odd := Sample{Window: time.Second, Running: math.NaN(), Waiting: -1, Took: [Kinds]Mean{First: {1, -time.Second}}}
	if s, err := Parse(odd.Encode()); err != nil || s.Running != 0 || s.Waiting != 0 || s.Took[First].Took != 0 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Sample{Window: time.Second, Took: [Kinds]Mean{Token: {1, time.Millisecond}}}.Encode())
	f.Add("")
	f.Add(strings.Repeat("\xff", 61))
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(s.Encode()); err != nil || again != s {
			t.Errorf("%q: got %+v, then %+v, %v", text, s, again, err)
		}
	})
}
