package traffic

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynmesh/dynmesh/canary"
)

const (
	cacheLine = 64
	shards    = 8 // a power of two
)

// sizesKept is the least time for which it is remembered how large a request was answered; twice as
// long is the most. Time before the first answer, and between two such times, does not count: what
// rests forgets nothing. It must be forgotten before canary/schedule forgets how long that one
// took, after an hour of work.
const sizesKept = 25 * time.Minute

// Tracker counts requests: two atomic additions a request and one a chunk, no clock, no lock, no
// allocation. Each request counts on a shard picked at random, because cores that count on one
// cache line slow each other down: two of them, doing nothing else, from 15 ns a request to 90. The
// pick costs 6 ns. The zero value is ready, and must not be copied.
type Tracker struct {
	_      [cacheLine]byte // keeps what lies before a tracker off its first line
	shards [shards]counters

	// What follows is written rarely: after an error or a refusal, and for bodies that are larger
	// than any before.
	errorsInRow atomic.Uint64
	busy        atomic.Uint64 // of failed, those that were refused by an endpoint that is busy
	silent      atomic.Uint64 // requests that ended otherwise than well, without a chunk
	answered    atomic.Uint64 // bytes of the largest body that was answered since then

	mu      sync.Mutex
	since   time.Time // zero: none was
	before  uint64    // the same, of the time before
	waiting []uint64  // bodies larger than answered was when they came, and not answered so far
}

// counters is one shard. They share a cache line on purpose: a request writes several of them in a
// row.
type counters struct {
	started   atomic.Uint64
	completed atomic.Uint64
	failed    atomic.Uint64
	errors    atomic.Uint64 // of failed, those that are the endpoint's own
	begun     atomic.Uint64 // first chunks, and answers that came whole
	chunks    atomic.Uint64 // others
	blocked   atomic.Uint64 // times that a request began to wait for its client
	unblocked atomic.Uint64
}

// Request is one request that is counted. It belongs to one goroutine at a time, Block and Unblock
// apart. Its zero value counts nothing, and must not be used.
type Request struct {
	tracker *Tracker
	count   *counters
	size    uint64
	waiting bool // size is among the tracker's waiting
	moved   bool // there was a chunk, or an end
	blocks  atomic.Uint32
}

// Outcome is how a request ended.
type Outcome uint8

// The ends of a request.
const (
	Completed   Outcome = iota
	ClientError         // it failed by its client: who left, or whose request was bad
	Errored             // it failed by the endpoint
	Busy                // the endpoint is well, and had no room for it
)

// Begin counts a request. The rest of it is counted on r, which is filled in place: to return it
// would cost more than to count.
func (t *Tracker) Begin(r *Request) {
	*r = Request{tracker: t, count: &t.shards[rand.Uint32()%shards]}
	r.count.started.Add(1)
}

// Size tells how large the request's body is, once, as soon as that is known.
func (r *Request) Size(bytes uint64) {
	if r.moved {
		return
	}
	r.size = bytes
	if bytes <= r.tracker.answered.Load() {
		return
	}
	r.waiting = true
	r.tracker.mu.Lock()
	r.tracker.waiting = append(r.tracker.waiting, bytes)
	r.tracker.mu.Unlock()
}

// Chunk counts a piece of the answer that is no error.
func (r *Request) Chunk() {
	if r.moved {
		r.count.chunks.Add(1)
	} else {
		r.count.begun.Add(1)
	}
	if !r.moved || r.tracker.errorsInRow.Load() > 0 {
		r.succeed()
	}
}

// succeed takes note that the endpoint works.
func (r *Request) succeed() {
	if r.tracker.errorsInRow.Load() > 0 {
		r.tracker.errorsInRow.Store(0)
	}
	if r.moved {
		return
	}
	r.moved = true
	for largest := r.tracker.answered.Load(); r.size > largest; largest = r.tracker.answered.Load() {
		if r.tracker.answered.CompareAndSwap(largest, r.size) {
			break
		}
	}
	r.forget()
}

// forget takes the request from those that wait.
func (r *Request) forget() {
	if !r.waiting {
		return
	}
	r.waiting = false
	r.tracker.mu.Lock()
	defer r.tracker.mu.Unlock()
	if i := slices.Index(r.tracker.waiting, r.size); i >= 0 {
		r.tracker.waiting = slices.Delete(r.tracker.waiting, i, i+1)
	}
}

// Block marks a request that waits for its client, until Unblock.
func (r *Request) Block() {
	r.blocks.Add(1)
	r.count.blocked.Add(1)
}

// Blocks is how often it has been blocked.
func (r *Request) Blocks() uint32 { return r.blocks.Load() }

// Unblock ends what Block began.
func (r *Request) Unblock() { r.count.unblocked.Add(1) }

// End follows each Begin, once.
func (r *Request) End(o Outcome) {
	if o == Completed {
		if !r.moved {
			r.count.begun.Add(1)
		}
		if !r.moved || r.tracker.errorsInRow.Load() > 0 {
			r.succeed()
		}
		r.count.completed.Add(1)
		return
	}
	r.forget()
	if !r.moved {
		r.tracker.silent.Add(1)
	}
	r.moved = true
	switch o {
	case Errored:
		r.tracker.errorsInRow.Add(1)
		r.count.errors.Add(1)
	case Busy:
		r.tracker.busy.Add(1)
	}
	r.count.failed.Add(1)
}

// Activity reads the counters while they move. Ends are read before beginnings, so that what ends
// meanwhile counts as under way, and no difference goes below zero.
func (t *Tracker) Activity() canary.Activity {
	var a canary.Activity
	for i := range t.shards {
		c := &t.shards[i]
		completed, failed := c.completed.Load(), c.failed.Load()
		a.Errors += min(c.errors.Load(), failed) // which are counted just before failed
		unblocked := c.unblocked.Load()
		blocked := c.blocked.Load() - unblocked
		a.Completed += completed
		a.Failed += failed
		begun := c.begun.Load()
		a.Begun += begun
		a.Progress += begun + c.chunks.Load() + completed + failed
		started := c.started.Load()
		inFlight := started - completed - failed
		a.InFlight += inFlight
		a.Unbegun += started - begun
		a.Blocked += min(blocked, inFlight) // one may have blocked twice between the two loads
	}
	a.Unbegun = min(a.Unbegun-min(t.silent.Load(), a.Unbegun), a.InFlight) // some have begun between the loads
	a.Busy = min(t.busy.Load(), a.Failed)                                  // as above
	a.ErrorsInRow = t.errorsInRow.Load()
	t.mu.Lock()
	defer t.mu.Unlock()
	a.LargestAnswered = t.largestAnswered(time.Now())
	for _, size := range t.waiting {
		if size > a.LargestAnswered { // another one, as large, may have been answered since
			a.LargestWaiting = max(a.LargestWaiting, size)
		}
	}
	return a
}

// largestAnswered is how many bytes the largest body had that was answered of late. The caller has
// the lock.
func (t *Tracker) largestAnswered(now time.Time) uint64 {
	answered := t.answered.Load()
	switch {
	case answered == 0:
	case t.since.IsZero():
		t.since = now
	case now.Sub(t.since) >= sizesKept:
		t.since, t.before = time.Time{}, t.answered.Swap(0)
	}
	return max(t.before, answered)
}
