package worker

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/dynmesh/dynmesh/canary"
)

const (
	cacheLine = 64
	shards    = 8 // a power of two
)

// tracker counts one endpoint's requests: two atomic additions a request and one a chunk, no
// clock, no lock, no allocation. Each request counts on a shard picked at random, because cores
// that count on one cache line slow each other down: two of them, doing nothing else, from 15 ns a
// request to 90. The pick costs 6 ns.
type tracker struct {
	_      [cacheLine]byte // keeps what lies before a tracker off its first line
	shards [shards]counters
}

// counters is one shard. They share a cache line on purpose: a request writes several of them in a
// row.
type counters struct {
	started   atomic.Uint64
	completed atomic.Uint64
	failed    atomic.Uint64
	errors    atomic.Uint64 // of failed, those that are the endpoint's own
	chunks    atomic.Uint64
	blocked   atomic.Uint64 // times that a request began to wait for its client
	unblocked atomic.Uint64
	_         [cacheLine - 7*8]byte
}

// begin counts a request. The rest of it is counted on what begin returns.
func (t *tracker) begin() *counters {
	c := &t.shards[rand.Uint32()%shards]
	c.started.Add(1)
	return c
}

func (c *counters) chunk() { c.chunks.Add(1) }

// outcome is how a request ended.
type outcome uint8

const (
	completed   outcome = iota
	clientError         // it failed by its client: who left, or whose request was bad
	errored             // it failed by the endpoint
)

// end follows each begin, once.
func (c *counters) end(o outcome) {
	if o == completed {
		c.completed.Add(1)
		return
	}
	if o == errored {
		c.errors.Add(1)
	}
	c.failed.Add(1)
}

// block marks a request that waits for its client, until unblock.
func (c *counters) block()   { c.blocked.Add(1) }
func (c *counters) unblock() { c.unblocked.Add(1) }

// activity reads the counters while they move. Ends are read before beginnings, so that what ends
// meanwhile counts as under way, and no difference goes below zero.
func (t *tracker) activity() canary.Activity {
	var a canary.Activity
	for i := range t.shards {
		c := &t.shards[i]
		completed, failed := c.completed.Load(), c.failed.Load()
		a.Errors += min(c.errors.Load(), failed) // counted just before failed
		unblocked := c.unblocked.Load()
		blocked := c.blocked.Load() - unblocked
		a.Completed += completed
		a.Failed += failed
		a.Progress += c.chunks.Load() + completed + failed
		inFlight := c.started.Load() - completed - failed
		a.InFlight += inFlight
		a.Blocked += min(blocked, inFlight) // one may have blocked twice between the two loads
	}
	return a
}
