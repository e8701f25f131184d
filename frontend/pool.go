package frontend

import (
	"context"
	"fmt"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip"
)

// Pool is the gossip that a frontend takes part in. *[gossip.Pool] is one.
type Pool interface {
	// Run takes part until ctx ends, then leaves, and returns when everything has stopped.
	Run(ctx context.Context) error

	// Close releases a pool that never ran.
	Close() error

	// Self is this process's life in the pool.
	Self() dynmesh.Observer

	// Changed has a value when Take has something. Nothing is kept for Take before Changed is first called; what is known
	// then comes all the same. One goroutine reads both.
	Changed() <-chan struct{}
	Take() dynmesh.GossipUpdate

	// WatchForeign asks for path probes of an instance whose worker is no member; again, with another address, in place
	// of the first. UnwatchForeign ends that. Neither blocks.
	WatchForeign(gossip.Foreign)
	UnwatchForeign(dynmesh.Subject)
}

// gossips begins to take part in gossip. What it returns has a value when that has ended by itself, and leave ends it; without
// a pool there is nothing to end.
func (f *Frontend) gossips(ctx context.Context) (ended <-chan error, leave func() error) {
	if f.cfg.Pool == nil {
		return nil, func() error { return nil }
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it outlives ctx until requests are done
	early, done := make(chan error, 1), make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = f.cfg.Pool.Run(ctx)
		if ctx.Err() == nil {
			early <- orEnded(err)
		}
	}()
	return early, func() error {
		cancel()
		<-done
		return err
	}
}

// closePool releases the pool of a frontend that does not serve.
func (f *Frontend) closePool() error {
	if f.cfg.Pool == nil {
		return nil
	}
	if err := f.cfg.Pool.Close(); err != nil {
		return fmt.Errorf("run frontend: close gossip: %w", err)
	}
	return nil
}
