package timers_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh/internal/timers"
)

// The queue against a sorted list, over random sets, stops and pops.
func TestQueueKeepsOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q timers.Queue[int, int]
	all := make([]timers.Timer[int, int], 50)
	for i := range all {
		all[i].Value = i
	}
	due := map[int]int{}
	for range 20_000 {
		i := rng.IntN(len(all))
		switch rng.IntN(4) {
		case 0:
			q.Stop(&all[i])
			delete(due, i)
		case 1:
			now := rng.IntN(1000)
			got, ok := q.Pop(now)
			first := 1000
			for _, at := range due {
				first = min(first, at)
			}
			if ok != (first <= now) || ok && due[got] != first {
				t.Fatalf("Pop(%d) = %d, %v; the first of %v is due at %d", now, got, ok, due, first)
			}
			if ok {
				delete(due, got)
			}
		default:
			at := rng.IntN(1000)
			q.Set(&all[i], at)
			due[i] = at
		}
		if q.Len() != len(due) {
			t.Fatalf("Len = %d, want %d", q.Len(), len(due))
		}
		if at, ok := q.Next(); ok != (len(due) > 0) || ok && !slices.ContainsFunc(all, func(tm timers.Timer[int, int]) bool {
			d, set := due[tm.Value]
			return set && d == at
		}) {
			t.Fatalf("Next = %d, %v of %v", at, ok, due)
		}
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := timers.Sleep(t.Context(), time.Hour); err != nil || time.Since(began) != time.Hour {
			t.Errorf("slept %v, %v", time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began = time.Now()
		if err := timers.Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("slept %v, %v, want the context's end after a minute", time.Since(began), err)
		}
	})
}

func TestJitter(t *testing.T) {
	low, high := time.Hour, time.Duration(0)
	for range 10_000 {
		d := timers.Jitter(time.Second, 0.1)
		low, high = min(low, d), max(high, d)
	}
	if low < 900*time.Millisecond || low > 905*time.Millisecond || high > 1100*time.Millisecond || high < 1095*time.Millisecond {
		t.Errorf("from %v to %v, want 0.9 s to 1.1 s", low, high)
	}
}

func TestEarlier(t *testing.T) {
	first := time.Unix(1, 0)
	then := first.Add(1)
	for _, tt := range []struct{ a, b, want time.Time }{
		{first, then, first}, {then, first, first}, {first, time.Time{}, first}, {time.Time{}, first, first}, {},
	} {
		if got := timers.Earlier(tt.a, tt.b); got != tt.want {
			t.Errorf("of %v and %v: got %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}
