package loss

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/dynmesh/dynmesh/e2e/rig"
)

const (
	// patience is how long a client waits for its whole answer. It is more than Envoy waits for a byte
	// (30 s) before it tries another replica.
	patience = 40 * time.Second
	// slow is an answer that took longer.
	slow = 5 * time.Second
)

// request is what became of one.
type request struct {
	sent, ended time.Time // ended is zero while it runs
	err         error
}

// load sends requests, each over a connection of its own.
type load struct {
	url, model string
	client     *http.Client
	running    sync.WaitGroup

	mu       sync.Mutex
	requests []*request
}

func newLoad(url, model string) *load {
	return &load{url: url, model: model, client: rig.NewClient(patience)}
}

// send sends n requests, so many a second, whatever becomes of the earlier ones, and returns when
// the last was sent and its time is over.
func (l *load) send(ctx context.Context, n, rate int) {
	rig.Pace(ctx, n, rate, func(i int) {
		l.mu.Lock()
		r := &request{sent: time.Now()}
		l.requests = append(l.requests, r)
		prompt := fmt.Sprintf("%x bottles of %d kinds", i*7919, len(l.requests))
		l.mu.Unlock()
		l.running.Go(func() {
			err := l.complete(ctx, prompt)
			l.mu.Lock()
			defer l.mu.Unlock()
			r.ended, r.err = time.Now(), err
		})
	})
}

// wait waits for all answers, as long as clients do.
func (l *load) wait() { l.running.Wait() }

// complete sends a request for a stream and reads it to its end.
func (l *load) complete(ctx context.Context, prompt string) error {
	return rig.Complete(ctx, l.client, l.url, rig.Chat(l.model, prompt, ""))
}

// answered returns how many requests have ended, and of them how many well.
func (l *load) answered() (all, good int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.requests {
		if !r.ended.IsZero() {
			all++
			if r.err == nil {
				good++
			}
		}
	}
	return all, good
}

// count says what became of those sent since a fault, and of those that were under way then.
func (l *load) count(struck time.Time) (o outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.requests {
		failed := r.err != nil
		switch {
		case !r.sent.Before(struck):
			o.sent++
			if failed {
				o.lost++
				o.last = max(o.last, r.sent.Sub(struck))
			} else if r.ended.Sub(r.sent) > slow {
				o.slow++
			}
			if failed && o.first == "" {
				o.first = r.err.Error()
			}
		case r.ended.After(struck) && failed:
			o.cut++
		}
	}
	return o
}
