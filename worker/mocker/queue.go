package mocker

import (
	"context"
	"slices"
	"sync"
)

// queue admits requests in the order they came, as many at once as the knob max_sequences says.
type queue struct {
	mu      sync.Mutex
	max     int
	running int
	waiting []chan struct{} // closed when its request is admitted
}

// enter waits for the request's turn. Where it returns nil, leave must follow.
func (q *queue) enter(ctx context.Context) error {
	admitted := make(chan struct{})
	q.mu.Lock()
	q.waiting = append(q.waiting, admitted)
	q.admit()
	q.mu.Unlock()
	select {
	case <-admitted:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiting, admitted); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	} else {
		q.running-- // it was admitted just as its client left
		q.admit()
	}
	return context.Cause(ctx)
}

func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	q.admit()
}

// resize changes how many requests run at once. Those that run already go on.
func (q *queue) resize(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.max = n
	q.admit()
}

func (q *queue) depth() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running, len(q.waiting)
}

func (q *queue) admit() {
	for q.running < q.max && len(q.waiting) > 0 {
		close(q.waiting[0])
		q.waiting = slices.Delete(q.waiting, 0, 1)
		q.running++
	}
}

// device is what all requests of an engine share. A prefill holds it alone; tokens are made while
// nobody holds it.
type device struct {
	mu   sync.Mutex
	held chan struct{} // nil while free; closed when the holder lets go
}

// hold waits until the device is free and takes it.
func (d *device) hold(ctx context.Context) (release func(), err error) {
	for {
		if err := d.wait(ctx); err != nil {
			return nil, err
		}
		d.mu.Lock()
		if d.held == nil {
			held := make(chan struct{})
			d.held = held
			d.mu.Unlock()
			return func() {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.held = nil
				close(held)
			}, nil
		}
		d.mu.Unlock()
	}
}

// wait returns once the device is free.
func (d *device) wait(ctx context.Context) error {
	for {
		d.mu.Lock()
		held := d.held
		d.mu.Unlock()
		if held == nil {
			return context.Cause(ctx)
		}
		select {
		case <-held:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
