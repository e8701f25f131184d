package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// exitSignalled is what a shell reports of a process that a second signal ended.
const exitSignalled = 130

// untilSignal returns a context that ends at the first SIGINT or SIGTERM, which begins an orderly end. A second one
// ends the process at once.
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
