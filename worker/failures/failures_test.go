package failures

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/pairs"
)

func watch(activity func() canary.Activity) *Watch { return New(canary.Endpoint{Activity: activity}) }

func TestMany(t *testing.T) {
	for _, tt := range []struct {
		failed, ended uint64
		stands, want  bool
	}{
		{0, 0, false, false}, {2, 2, false, false}, {3, 3, false, true}, {3, 15, false, true}, {3, 16, false, false}, {19, 100, false, false},
		{10, 100, true, true}, {9, 100, true, false}, {0, 0, true, false},
	} {
		if got := isMany(tt.failed, tt.ended, tt.stands); got != tt.want {
			t.Errorf("%d of %d, standing %v: got %v, want %v", tt.failed, tt.ended, tt.stands, got, tt.want)
		}
	}
}

// Each second request fails for a while, and none after that: it is said once, again for those who
// have forgotten it, and taken back.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		fails := func() time.Duration { return min(time.Since(began), 50*time.Second) }
		w := watch(func() canary.Activity {
			return canary.Activity{Completed: uint64(time.Since(began).Seconds()), Errors: uint64(fails().Seconds())}
		})
		w.Failed(&dynmesh.Failure{Reason: dynmesh.ReasonStatus, Detail: "status 500: no KV cache"})
		var said []string
		var at []time.Duration
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		w.Run(ctx, func(s string) { said, at = append(said, s), append(at, time.Since(began)) })
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Fatal("it ended before its context")
		}
		if len(said) != 4 || !strings.HasPrefix(said[0], "3 of 6 within 30s, the last: ") || !strings.Contains(said[0], "no KV cache") ||
			said[1] != said[0] || said[2] != said[0] || said[3] != "" {
			t.Errorf("it said %q", said)
		}
		if want := []time.Duration{4 * time.Second, 34 * time.Second, 64 * time.Second}; len(at) != 4 || !slices.Equal(at[:3], want) || at[3] < 79*time.Second || at[3] > 81*time.Second {
			t.Errorf("it said so at %v, want %v, and took it back when less than 3 of 30 had failed", at, want)
		}
	})
}

// What begins among many that succeeded is noticed within a third of the window: of 10 requests a
// second, all fail after a minute.
func TestShortWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := watch(func() canary.Activity {
			ended, well := 10*uint64(time.Since(began)/time.Second), uint64(600)
			return canary.Activity{Completed: min(ended, well), Errors: ended - min(ended, well)}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 70*time.Second)
		defer cancel()
		var said []string
		w.Run(ctx, func(s string) {
			said = append(said, s)
			if at := time.Since(began); at != 62*time.Second {
				t.Errorf("it said %q after %v, want 1m2s", s, at)
			}
		})
		if !slices.Equal(said, []string{"20 of 100 within 10s"}) {
			t.Errorf("it said %q", said)
		}
	})
}

// However long the reason is, what is said fits.
func TestWatchFits(t *testing.T) {
	w := watch(nil)
	w.Failed(&dynmesh.Failure{Reason: dynmesh.ReasonStatus, Detail: strings.Repeat("why ", 100)})
	if got := w.text(pairs.Count{Failed: 3, Ended: 6}, window); len(got) > dynmesh.MaxSample || !strings.HasPrefix(got, "3 of 6 within 30s, the last: status: why") {
		t.Errorf("%d bytes, want at most %d: %q", len(got), dynmesh.MaxSample, got)
	}
}

func TestCounterThatWentBack(t *testing.T) {
	now := time.Now()
	c := counts{}.add(sample{now, 100, 200}).add(sample{now.Add(time.Second), 1, 2})
	if got := c.within(window); got != (pairs.Count{}) {
		t.Errorf("an engine that began again: %v, want none", got)
	}
}
