package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// errEnded is why a context ends within which something has ended that was to run on.
var errEnded = errors.New("ended by itself")

// beside runs body while another part of the process runs, and returns when both have ended. The
// other part is told to end when body has: a worker drains while its engine still answers. Where
// the other part ends first, body's context ends. The errors of both count.
func beside(ctx context.Context, name string, other, body func(context.Context) error) error {
	otherCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	bodyCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var failed error
	var running sync.WaitGroup
	running.Go(func() {
		failed = other(otherCtx)
		if otherCtx.Err() == nil {
			failed = errors.Join(errEnded, failed)
			cancel(fmt.Errorf("%s %w", name, errEnded))
		}
	})
	err := body(bodyCtx)
	stop()
	running.Wait()
	if failed != nil {
		failed = fmt.Errorf("%s: %w", name, failed)
	}
	return errors.Join(err, failed)
}

// component is what runs beside something else.
type component struct {
	name string
	run  func(context.Context) error
}

// besideEach is beside with several others, each of them beside all that follow it.
func besideEach(ctx context.Context, others []component, body func(context.Context) error) error {
	if len(others) == 0 {
		return body(ctx)
	}
	return beside(ctx, others[0].name, others[0].run, func(ctx context.Context) error {
		return besideEach(ctx, others[1:], body)
	})
}

// runGroup runs equals: it returns when all have ended, and one that ends takes the others with it.
func runGroup(runs ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		errs := make([]error, len(runs))
		var all sync.WaitGroup
		for i, run := range runs {
			all.Go(func() {
				defer cancel()
				errs[i] = run(ctx)
			})
		}
		all.Wait()
		return errors.Join(errs...)
	}
}

// exitSignalled is what a shell reports of a process that a second signal ended.
const exitSignalled = 130

// untilSignal returns a context that ends at the first SIGINT or SIGTERM, which begins an orderly
// end. A second one ends the process at once.
func untilSignal(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for range 2 {
			select {
			case <-done:
				return
			case s := <-signals:
				if ctx.Err() != nil {
					os.Exit(exitSignalled)
				}
				cancel(fmt.Errorf("signal: %v", s))
			}
		}
	})
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		watching.Wait()
		cancel(nil)
	}
}
