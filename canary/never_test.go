package canary

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// queue is an engine that does one thing at a time, in virtual time. Canaries stand in line like
// everybody.
type queue struct {
	turn  chan struct{} // held by who is served
	hangs atomic.Bool

	mu sync.Mutex
	a  Activity
}

func newQueue() *queue { return &queue{turn: make(chan struct{}, 1)} }

func (q *queue) activity() Activity {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.a
}

func (q *queue) count(f func(*Activity)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f(&q.a)
}

// serve takes as long as the work, once it is its turn; false where ctx ended before.
func (q *queue) serve(ctx context.Context, work time.Duration) bool {
	select {
	case q.turn <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-q.turn }()
	timer := time.NewTimer(work)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	if q.hangs.Load() {
		<-ctx.Done()
		return false
	}
	return true
}

func (q *queue) probe(ctx context.Context) error {
	if !q.serve(ctx, 50*time.Millisecond) {
		return ctx.Err()
	}
	return nil
}

// request is one of so many bytes that is counted as worker/traffic does.
func (q *queue) request(ctx context.Context, size uint64, work time.Duration) {
	q.count(func(a *Activity) {
		a.InFlight++
		if size > a.LargestAnswered {
			a.LargestWaiting = max(a.LargestWaiting, size)
		}
	})
	ok := q.serve(ctx, work)
	q.count(func(a *Activity) {
		a.InFlight--
		a.Progress++
		if !ok {
			a.Failed++
			return
		}
		a.Completed++
		a.LargestAnswered = max(a.LargestAnswered, size)
		if a.LargestWaiting <= a.LargestAnswered {
			a.LargestWaiting = 0
		}
	})
}

// neverNotReady holds that the endpoint is ready for so long.
func (w *testMonitor) neverNotReady(d time.Duration, during string) {
	w.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if got := w.says("generate"); !strings.HasPrefix(got, "ready") {
			w.t.Fatalf("at %v: %s, during %s", time.Since(w.start), got, during)
		}
	}
}

// notReadyWithin says how long it took until the endpoint was not ready.
func (w *testMonitor) notReadyWithin(d time.Duration, after string) {
	w.t.Helper()
	began := time.Now()
	for strings.HasPrefix(w.says("generate"), "ready") {
		if time.Since(began) > d {
			w.t.Fatalf("ready %v after %s, want it not to be: %s", time.Since(began), after, w.says("generate"))
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.t.Logf("%s: %s after %v", after, w.says("generate"), time.Since(began))
}

// clients send requests one after the other until ctx ends.
func (q *queue) clients(ctx context.Context, n int, size uint64, work, pause, patience time.Duration) (wait func()) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for ctx.Err() == nil {
				impatient, cancel := context.WithTimeout(ctx, patience)
				q.request(impatient, size, work)
				cancel()
				time.Sleep(pause)
			}
		})
	}
	return all.Wait
}

func TestAnHourAtSaturation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		w := monitor(t, Config{})
		w.serve(Endpoint{Name: "generate", Probe: q.probe, Activity: q.activity})
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		defer q.clients(ctx, 8, 30_000, time.Minute, 0, time.Hour)()
		defer cancel()
		w.neverNotReady(time.Hour, "an hour of prefills of a minute")
	})
}

// An hour of short requests teaches a short budget. Then comes one that takes 20 s and blocks all.
func TestALongPromptAfterAnHourOfShortOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		w := monitor(t, Config{})
		w.serve(Endpoint{Name: "generate", Probe: q.probe, Activity: q.activity})
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		defer q.clients(ctx, 5, 400, 50*time.Millisecond, 950*time.Millisecond, time.Hour)()
		defer cancel()
		w.neverNotReady(time.Hour, "an hour of short requests")
		if s, _ := w.Status("generate"); s.StallBudget != 10*time.Second {
			t.Errorf("the budget is %v, want the least", s.StallBudget)
		}
		long := func() {
			var one sync.WaitGroup
			one.Go(func() { q.request(ctx, 40_000, 20*time.Second) })
			w.neverNotReady(time.Minute, "a prefill of 20s")
			one.Wait()
		}
		long()
		// How long it took is forgotten, and so is how large it was.
		time.Sleep(75 * time.Minute)
		q.count(func(a *Activity) { a.LargestAnswered = 400 })
		long()
		q.hangs.Store(true)
		w.notReadyWithin(5*21*time.Second, "it hung among short requests")
	})
}

// Clients that give up after a second leave nothing in flight, or not for long.
func TestHungBeforeClientsThatGiveUp(t *testing.T) {
	for _, clients := range []int{1, 5} {
		for _, counters := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue()
				w := monitor(t, Config{})
				activity := q.activity
				if counters { // each completion is a step, as they would be read twice a second
					activity = func() Activity {
						a := q.activity()
						a.StepsInPrefill, a.Steps = true, a.Completed
						return a
					}
				}
				w.serve(Endpoint{Name: "generate", Probe: q.probe, Activity: activity})
				time.Sleep(time.Second)
				ctx, cancel := context.WithCancel(t.Context())
				defer q.clients(ctx, clients, 400, 50*time.Millisecond, 150*time.Millisecond, time.Second)()
				defer cancel()
				w.neverNotReady(time.Minute, "short requests")
				q.hangs.Store(true)
				limit, what := 15*time.Second, "hung"
				if counters {
					limit, what = 6*time.Second, "hung, with counters"
				}
				w.notReadyWithin(limit, what)
			})
		}
	}
}

// A machine that is starved to a tenth: the observer gets to run for a tenth of the time, and the
// engine is ten times slower.
func TestStarvedToATenth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		var starved atomic.Bool
		starved.Store(true)
		probe := func(ctx context.Context) error {
			work := 500 * time.Millisecond
			if starved.Load() {
				work *= 10
			}
			if !q.serve(ctx, work) {
				return ctx.Err()
			}
			return nil
		}
		activity := func() Activity {
			if starved.Load() {
				time.Sleep(9 * maxSamplePeriod)
			}
			return q.activity()
		}
		w := monitor(t, Config{})
		w.serve(Endpoint{Name: "generate", Probe: probe, Activity: activity})
		time.Sleep(time.Minute)
		w.neverNotReady(time.Hour, "an hour of starvation")
		starved.Store(false)
		time.Sleep(10 * time.Second)
		q.hangs.Store(true)
		w.notReadyWithin(15*time.Second, "it hung, and nobody is starved any more")
	})
}

// What happened while this process stood still for a minute is not held against the endpoint.
func TestStoodStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		var stop atomic.Int64
		w := monitor(t, Config{})
		w.serve(Endpoint{Name: "generate", Probe: q.probe, Activity: func() Activity {
			time.Sleep(time.Duration(stop.Swap(0)))
			return q.activity()
		}})
		time.Sleep(5 * time.Second)
		q.count(func(a *Activity) { a.InFlight, a.LargestAnswered = 1, 10 })
		time.Sleep(time.Second)
		stop.Store(int64(5 * time.Minute))
		w.neverNotReady(5*time.Minute+30*time.Second, "and after five minutes in which nobody looked")
	})
}
