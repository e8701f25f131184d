package worker

import (
	"sync"
	"testing"

	"github.com/dynmesh/dynmesh/canary"
)

func TestTracker(t *testing.T) {
	var tr tracker
	check := func(when string, want canary.Activity) {
		t.Helper()
		if got := tr.activity(); got != want {
			t.Errorf("%s: got %+v, want %+v", when, got, want)
		}
	}
	check("at first", canary.Activity{})
	c := tr.begin()
	tr.begin()
	last := tr.begin()
	check("begun", canary.Activity{InFlight: 3})
	c.chunk()
	check("a chunk is progress", canary.Activity{InFlight: 3, Progress: 1})
	c.block()
	check("blocked", canary.Activity{InFlight: 3, Progress: 1, Blocked: 1})
	c.unblock()
	c.end(completed)
	check("so is a completion", canary.Activity{InFlight: 2, Completed: 1, Progress: 2})
	last.end(clientError)
	check("and a failure", canary.Activity{InFlight: 1, Completed: 1, Failed: 1, Progress: 3})
	tr.begin().end(errored)
	check("of which some are the endpoint's", canary.Activity{InFlight: 1, Completed: 1, Failed: 2, Errors: 1, Progress: 4})
}

// TestTrackerWhileItMoves: a sample never shows less than nothing in flight, and never goes back.
func TestTrackerWhileItMoves(t *testing.T) {
	var tr tracker
	const workers, requests = 4, 5000
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for range requests {
				c := tr.begin()
				c.chunk()
				c.end(outcome(i % 2))
			}
		})
	}
	stop := make(chan struct{})
	var sampling sync.WaitGroup
	sampling.Go(func() {
		for last := (canary.Activity{}); ; {
			a := tr.activity()
			// Each worker has one in flight at most; the ends that a sample missed appear as in
			// flight too.
			if a.InFlight > workers*requests || a.Progress < last.Progress || a.Completed < last.Completed {
				t.Errorf("got %+v after %+v", a, last)
				return
			}
			last = a
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	wg.Wait()
	close(stop)
	sampling.Wait()
	want := canary.Activity{Completed: workers * requests / 2, Failed: workers * requests / 2, Progress: 2 * workers * requests}
	if got := tr.activity(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// The budget is 30 ns and no allocation a request, here of one chunk: see docs/benchmarks.md.
func BenchmarkTracker(b *testing.B) {
	request := func(tr *tracker) {
		c := tr.begin()
		c.chunk()
		c.end(completed)
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		tr := new(tracker)
		for b.Loop() {
			request(tr)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		tr := new(tracker)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				request(tr)
			}
		})
	})
	b.Run("parallel-own-endpoints", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			tr := new(tracker)
			for pb.Next() {
				request(tr)
			}
		})
	})
}
