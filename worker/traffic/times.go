package traffic

import (
	"sync"
	"time"
)

// Times adds up how long the answers of an endpoint take. It is written once a request and once a
// second of a stream, so that no chunk costs anything. The zero value is ready, and must not be
// copied.
type Times struct {
	mu     sync.Mutex
	totals Totals
}

// Totals are sums since the beginning.
type Totals struct {
	Token  Sum    // tokens of streamed answers, each after the first
	First  Sum    // beginnings of answers, each from its request's arrival on
	Whole  Sum    // tokens of answers that came in one piece
	Prompt uint64 // tokens of the requests whose answers began

	// Time that requests spent, all added up: while their answers came, and before.
	Running, Waiting time.Duration
}

// Sum is how often there was something, and how long all of it took.
type Sum struct {
	Count uint64
	Took  time.Duration
}

func (s *Sum) add(count uint64, took time.Duration) {
	s.Count += count
	s.Took += max(took, 0)
}

// bytesOfToken is how long a token of a prompt is, about.
const bytesOfToken = 4

// Began adds an answer that began so long after its request came, whose body has so many bytes.
func (t *Times) Began(after time.Duration, body uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.totals.First.add(1, after)
	t.totals.Prompt += body / bytesOfToken
	t.totals.Waiting += max(after, 0)
}

// Streamed adds tokens that came within so long, one after the other, after others.
func (t *Times) Streamed(tokens uint64, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.totals.Token.add(tokens, took)
	t.totals.Running += max(took, 0)
}

// Answered adds an answer that came in one piece, so long after its request.
func (t *Times) Answered(tokens uint64, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.totals.Whole.add(tokens, took)
	t.totals.Running += max(took, 0)
}

// Totals returns all of it.
func (t *Times) Totals() Totals {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.totals
}
