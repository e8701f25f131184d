package gossip

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
)

// maxQueued bounds the bytes in a sender's line: many may ask for all there is at once. One job gets in whatever its size.
const maxQueued = 64 << 20

// sender sends over TCP, which may take seconds, for the loop, which must not wait. Its line is bounded: what does not get
// into it is dropped, and comes again.
type sender struct {
	name    string
	metrics *metrics
	jobs    chan sendJob
	queued  atomic.Int64 // bytes of what is in the line and under way
	wg      sync.WaitGroup
}

type sendJob struct {
	to       memberlist.Node
	messages [][]byte
	size     int64
}

// newSender begins nothing before start.
func newSender(name string, line int, m *metrics) *sender {
	return &sender{name: name, metrics: m, jobs: make(chan sendJob, line)}
}

// start lets so many connections be under way at once, until ctx ends.
func (s *sender) start(ctx context.Context, atOnce int, send func(*memberlist.Node, []byte) error) {
	for range atOnce {
		s.wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case job := <-s.jobs:
					for _, b := range job.messages {
						if ctx.Err() != nil || send(&job.to, b) != nil {
							s.metrics.drop(s.name)
							break
						}
					}
					s.queued.Add(-job.size)
				}
			}
		})
	}
}

// send never waits.
func (s *sender) send(to memberlist.Node, messages ...[]byte) {
	if len(messages) == 0 {
		return
	}
	job := sendJob{to: to, messages: messages}
	for _, b := range messages {
		job.size += int64(len(b))
	}
	if after := s.queued.Add(job.size); after <= maxQueued || after == job.size {
		select {
		case s.jobs <- job:
			return
		default:
		}
	}
	s.queued.Add(-job.size)
	s.metrics.drop(s.name)
}

func (s *sender) wait() { s.wg.Wait() }
