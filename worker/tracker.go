package worker

import "sync/atomic"

// Activity is what an endpoint is doing, as counted since the worker began. Two samples tell whether it moves.
type Activity struct {
	InFlight  uint64 // requests that a handler is working on
	Completed uint64 // requests whose handler returned nil
	Failed    uint64 // all others, those whose client left included: a failure here need not be the endpoint's
	Progress  uint64 // grows with each chunk handed over for sending, and with each request that ends

	// Blocked is how many of those in flight wait for their client to read. They make no progress, and it is not the
	// endpoint's fault.
	Blocked uint64
}

// cacheLine is the distance at which two values do not slow each other down: processors fetch lines of 64 bytes in pairs.
const cacheLine = 128

// tracker counts one endpoint's requests: two atomic additions a request and one a chunk, no clock, no lock, no
// allocation. Its counters share one cache line on purpose, since a request writes several of them in a row (spreading
// them over shards was measured: no gain, and a slower single request); what lies beside a tracker is kept off that line.
type tracker struct {
	_         [cacheLine]byte
	started   atomic.Uint64
	completed atomic.Uint64
	failed    atomic.Uint64
	chunks    atomic.Uint64
	blocked   atomic.Uint64 // times that a request began to wait for its client
	unblocked atomic.Uint64
	_         [cacheLine]byte
}

func (t *tracker) begin() { t.started.Add(1) }

func (t *tracker) chunk() { t.chunks.Add(1) }

// end follows each begin, once.
func (t *tracker) end(ok bool) {
	if ok {
		t.completed.Add(1)
	} else {
		t.failed.Add(1)
	}
}

// block marks a request that waits for its client, until unblock.
func (t *tracker) block()   { t.blocked.Add(1) }
func (t *tracker) unblock() { t.unblocked.Add(1) }

// activity reads the counters while they move. Ends are read before beginnings, so that what ends meanwhile counts as
// under way, and no difference goes below zero.
func (t *tracker) activity() Activity {
	a := Activity{Completed: t.completed.Load(), Failed: t.failed.Load()}
	unblocked := t.unblocked.Load()
	blocked := t.blocked.Load() - unblocked
	a.Progress = t.chunks.Load() + a.Completed + a.Failed
	a.InFlight = t.started.Load() - a.Completed - a.Failed
	a.Blocked = min(blocked, a.InFlight) // one request may have blocked twice between the two loads
	return a
}
