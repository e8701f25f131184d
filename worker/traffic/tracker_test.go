package traffic

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh/canary"
)

func TestTracker(t *testing.T) {
	var tr Tracker
	check := func(when string, want canary.Activity) {
		t.Helper()
		if got := tr.Activity(); got != want {
			t.Errorf("%s: got %+v, want %+v", when, got, want)
		}
	}
	check("at first", canary.Activity{})
	var c Request
	tr.Begin(&c)
	tr.Begin(new(Request))
	var last Request
	tr.Begin(&last)
	check("begun", canary.Activity{InFlight: 3, Unbegun: 3})
	c.Chunk()
	check("a chunk is progress", canary.Activity{InFlight: 3, Progress: 1, Begun: 1, Unbegun: 2})
	c.Block()
	check("blocked", canary.Activity{InFlight: 3, Progress: 1, Blocked: 1, Begun: 1, Unbegun: 2})
	c.Unblock()
	c.End(Completed)
	check("so is a completion", canary.Activity{InFlight: 2, Completed: 1, Progress: 2, Begun: 1, Unbegun: 2})
	last.End(ClientError)
	check("and a failure", canary.Activity{InFlight: 1, Completed: 1, Failed: 1, Progress: 3, Begun: 1, Unbegun: 1})
	var failing Request
	tr.Begin(&failing)
	failing.End(Errored)
	check("of which some are the endpoint's", canary.Activity{InFlight: 1, Completed: 1, Failed: 2, Errors: 1, ErrorsInRow: 1, Progress: 4, Begun: 1, Unbegun: 1})
	var refused Request
	tr.Begin(&refused)
	refused.End(Busy)
	check("and some of nobody's making", canary.Activity{InFlight: 1, Completed: 1, Failed: 3, Errors: 1, ErrorsInRow: 1, Busy: 1, Progress: 5, Begun: 1, Unbegun: 1})
	var working Request
	tr.Begin(&working)
	working.Chunk()
	check("a chunk ends a row of errors", canary.Activity{InFlight: 2, Completed: 1, Failed: 3, Errors: 1, Busy: 1, Progress: 6, Begun: 2, Unbegun: 1})
	var whole Request
	tr.Begin(&whole)
	whole.End(Completed)
	check("an answer that comes whole begins and ends", canary.Activity{InFlight: 2, Completed: 2, Failed: 3, Errors: 1, Busy: 1, Progress: 8, Begun: 3, Unbegun: 1})
}

func TestTrackerSizes(t *testing.T) {
	var tr Tracker
	check := func(when string, answered, waiting uint64) {
		t.Helper()
		if a := tr.Activity(); a.LargestAnswered != answered || a.LargestWaiting != waiting {
			t.Errorf("%s: got %d answered, %d waiting; want %d, %d", when, a.LargestAnswered, a.LargestWaiting, answered, waiting)
		}
	}
	var small, large, left Request
	tr.Begin(&small)
	tr.Begin(&large)
	tr.Begin(&left)
	small.Size(10)
	large.Size(1000)
	left.Size(5000)
	check("nothing was answered", 0, 5000)
	left.End(ClientError)
	check("one has left", 0, 1000)
	small.Chunk()
	check("the small one is answered", 10, 1000)
	large.Chunk()
	check("the large one, too", 1000, 0)
	var same Request
	tr.Begin(&same)
	same.Size(1000)
	check("a large one has a precedent", 1000, 0)
	if len(tr.waiting) > 0 {
		t.Errorf("%d are remembered", len(tr.waiting))
	}
}

// How large a request was is forgotten before it is how long such a one may take, and not while
// nothing is answered.
func TestTrackerForgetsSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr Tracker
		answer := func(size uint64) {
			var r Request
			tr.Begin(&r)
			r.Size(size)
			r.End(Completed)
		}
		largest := func() uint64 { return tr.Activity().LargestAnswered }
		answer(40_000)
		for range 5 {
			if got := largest(); got != 40_000 {
				t.Errorf("nothing was answered since: got %d", got)
			}
			time.Sleep(time.Hour)
		}
		for began := time.Now(); time.Since(began) <= 2*sizesKept; time.Sleep(time.Minute) {
			answer(400)
			took := time.Since(began)
			switch got := largest(); {
			case took < sizesKept && got != 40_000, took == 2*sizesKept && got != 400:
				t.Errorf("%v after others were answered: got %d", took, got)
			}
		}
	})
}

// TestTrackerWhileItMoves: a sample never shows less than nothing in flight, and never goes back.
func TestTrackerWhileItMoves(t *testing.T) {
	var tr Tracker
	const workers, requests = 4, 5000
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for range requests {
				var c Request
				tr.Begin(&c)
				c.Chunk()
				c.End(Outcome(i % 2))
			}
		})
	}
	stop := make(chan struct{})
	var sampling sync.WaitGroup
	sampling.Go(func() {
		for last := (canary.Activity{}); ; {
			a := tr.Activity()
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
	want := canary.Activity{Completed: workers * requests / 2, Failed: workers * requests / 2, Progress: 2 * workers * requests, Begun: workers * requests}
	if got := tr.Activity(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// The budget is 30 ns and no allocation a request, here of one chunk: see docs/benchmarks.md.
func BenchmarkTracker(b *testing.B) {
	request := func(tr *Tracker) {
		var c Request
		tr.Begin(&c)
		c.Chunk()
		c.End(Completed)
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		tr := new(Tracker)
		for b.Loop() {
			request(tr)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		tr := new(Tracker)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				request(tr)
			}
		})
	})
	b.Run("parallel-own-endpoints", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			tr := new(Tracker)
			for pb.Next() {
				request(tr)
			}
		})
	})
}
