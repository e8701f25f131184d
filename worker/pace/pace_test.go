package pace

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh/internal/speed"
	"github.com/dynmesh/dynmesh/worker/traffic"
)

// heard is what a measurer says, from one window to the next.
type heard struct {
	all []speed.Sample
	at  []time.Time
}

// listen runs a measurer in a bubble for as long as it takes do.
func listen(t *testing.T, m *Measurer, do func(h *heard)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &heard{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.Run(ctx, func(sample string) {
				s, err := speed.Parse(sample)
				if err != nil {
					t.Errorf("%x: %v", sample, err)
				}
				h.all, h.at = append(h.all, s), append(h.at, time.Now())
			})
		}()
		synctest.Wait()
		do(h)
		cancel()
		<-done
	})
}

func TestMeasurer(t *testing.T) {
	var times traffic.Times
	m := New(Config{Times: times.Totals})
	listen(t, m, func(h *heard) {
		time.Sleep(10 * Window)
		synctest.Wait()
		if len(h.all) > 0 {
			t.Errorf("it says of nothing: %+v", h.all)
		}
		times.Began(200*time.Millisecond, 4000)
		times.Began(400*time.Millisecond, 8000)
		times.Streamed(100, 3*time.Second)
		times.Answered(50, 3*time.Second)
		time.Sleep(Window)
		synctest.Wait()
		want := speed.Sample{Window: Window, Running: 0.4, Waiting: 0.04, Prompt: 1500, Took: [speed.Kinds]speed.Mean{
			speed.Token: {Count: 100, Took: 30 * time.Millisecond}, speed.First: {Count: 2, Took: 300 * time.Millisecond}, speed.Whole: {Count: 50, Took: 60 * time.Millisecond},
		}}
		if len(h.all) != 1 || h.all[0] != want {
			t.Errorf("got %+v, want %+v once", h.all, want)
		}
	})
}

// Canaries tell of an endpoint that does nothing else, and only those that pass.
func TestCanaries(t *testing.T) {
	for name, counts := range map[string]bool{"asked past what is counted": false, "counted by the engine": true} {
		t.Run(name, func(t *testing.T) {
			var times traffic.Times
			m := New(Config{Times: times.Totals, CountsCanaries: counts})
			fails := errors.New("no")
			probe := m.Probe(func(context.Context) error {
				time.Sleep(80 * time.Millisecond)
				if counts {
					times.Began(80*time.Millisecond, 0)
				}
				return nil
			})
			failing := m.Probe(func(context.Context) error { time.Sleep(time.Second); return fails })
			listen(t, m, func(h *heard) {
				time.Sleep(Window)
				for range 2 {
					if err := probe(t.Context()); err != nil {
						t.Error(err)
					}
				}
				if err := failing(t.Context()); !errors.Is(err, fails) {
					t.Errorf("got %v", err)
				}
				time.Sleep(2 * Window)
				synctest.Wait()
				want := [speed.Kinds]speed.Mean{speed.Canary: {Count: 2, Took: 80 * time.Millisecond}}
				if len(h.all) != 1 || h.all[0].Took != want {
					t.Errorf("got %+v, want %+v once", h.all, want)
				}
				times.Streamed(100, time.Second)
				if err := probe(t.Context()); err != nil {
					t.Error(err)
				}
				time.Sleep(Window)
				synctest.Wait()
				if last := h.all[len(h.all)-1].Took; last[speed.Canary].Count > 0 || last[speed.First].Count > 0 || last[speed.Token].Count != 100 {
					t.Errorf("of an endpoint that works: got %+v", last)
				}
			})
		})
	}
}

// Workers do not speak in step, nor too often together.
func TestWindows(t *testing.T) {
	for _, tt := range []struct {
		members int
		want    time.Duration
	}{{1, Window}, {750, Window}, {1000, 20 * time.Second}, {5000, 100 * time.Second}, {100_000, maxWindow}} {
		var times traffic.Times
		m := New(Config{Times: times.Totals, Members: func() int { return tt.members }})
		listen(t, m, func(h *heard) {
			for range 4 * tt.want / time.Second {
				times.Streamed(10, time.Second)
				time.Sleep(time.Second)
			}
			synctest.Wait()
			if len(h.at) < 3 {
				t.Fatalf("%d members: %d samples", tt.members, len(h.at))
			}
			for n := range h.at[1:] {
				if got := h.at[n+1].Sub(h.at[n]); got != tt.want {
					t.Errorf("%d members: %v between two samples, want %v", tt.members, got, tt.want)
				}
			}
		})
	}
}
