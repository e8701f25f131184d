package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// parts are the running pieces of one process. They end one after the other, last started first.
type parts struct {
	running []*part
	failed  chan struct{} // closed when a part has ended by itself
	fail    func()        // closes it, once
}

type part struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{} // closed when err is final
	err    error
}

func newParts() *parts {
	failed := make(chan struct{})
	return &parts{failed: failed, fail: sync.OnceFunc(func() { close(failed) })}
}

// start runs a part until stop, or until it ends by itself.
func (p *parts) start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	started := &part{name: name, cancel: cancel, done: make(chan struct{})}
	p.running = append(p.running, started)
	go func() {
		defer close(started.done)
		started.err = run(ctx)
		if ctx.Err() == nil {
			started.err = errors.Join(errors.New("ended by itself"), started.err)
			p.fail()
		}
	}()
}

// wait returns when ctx ends, when ready is closed, or when a part has ended by itself.
func (p *parts) wait(ctx context.Context, ready <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-ready:
	case <-p.failed:
	}
}

// ended says whether a part has ended by itself.
func (p *parts) ended() bool {
	select {
	case <-p.failed:
		return true
	default:
		return false
	}
}

// stop ends all parts in order and returns what they had to say.
func (p *parts) stop() error {
	var errs []error
	for i := len(p.running) - 1; i >= 0; i-- {
		ended := p.running[i]
		ended.cancel()
		<-ended.done
		if ended.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", ended.name, ended.err))
		}
	}
	return errors.Join(errs...)
}

// together runs several functions as one: it returns when all have.
func together(runs []func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		errs := make([]error, len(runs))
		var all sync.WaitGroup
		for i, run := range runs {
			all.Go(func() {
				defer cancel() // one that ends takes the others with it
				errs[i] = run(ctx)
			})
		}
		all.Wait()
		return errors.Join(errs...)
	}
}
