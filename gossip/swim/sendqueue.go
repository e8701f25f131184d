package swim

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/dynmesh/dynmesh/internal/budget"
)

// maxQueuedBytes bounds the bytes in a queue, or a sixteenth of the memory does: many may ask for
// all there is at once. One job gets in whatever its size.
const maxQueuedBytes = 64 << 20

// SendQueue sends over TCP, which may take seconds, for those who must not wait. It is bounded:
// what does not get in is dropped, and must come again.
type SendQueue struct {
	dropped func()
	most    int64 // bytes
	jobs    chan sendJob
	queued  atomic.Int64 // bytes of what is in the queue and under way
	wg      sync.WaitGroup
}

type sendJob struct {
	to       Peer
	messages [][]byte
	size     int64
}

// NewSendQueue begins nothing before Start. dropped is called for each job that is.
func NewSendQueue(length int, dropped func()) *SendQueue {
	return &SendQueue{dropped: dropped, most: budget.Share(16, maxQueuedBytes), jobs: make(chan sendJob, length)}
}

// Start lets so many connections be under way at once, until ctx ends.
func (q *SendQueue) Start(ctx context.Context, atOnce int, send func(Peer, []byte) error) {
	for range atOnce {
		q.wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case job := <-q.jobs:
					for _, b := range job.messages {
						if ctx.Err() != nil || send(job.to, b) != nil {
							q.dropped()
							break
						}
					}
					q.queued.Add(-job.size)
				}
			}
		})
	}
}

// Send never waits.
func (q *SendQueue) Send(to Peer, messages ...[]byte) {
	if len(messages) == 0 {
		return
	}
	job := sendJob{to: to, messages: messages}
	for _, b := range messages {
		job.size += int64(len(b))
	}
	if after := q.queued.Add(job.size); after <= q.most || after == job.size {
		select {
		case q.jobs <- job:
			return
		default:
		}
	}
	q.queued.Add(-job.size)
	q.dropped()
}

// Waiting is how many jobs wait for those that are under way.
func (q *SendQueue) Waiting() int { return len(q.jobs) }

// Wait returns when all that Start began has ended.
func (q *SendQueue) Wait() { q.wg.Wait() }
