package frontend

import (
	"context"
	"sync"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip"
)

var _ Pool = (*gossip.Pool)(nil)

// fakePool is gossip that a test speaks through. Its state between two calls of Take is one update.
type fakePool struct {
	changed chan struct{}
	running chan struct{} // closed when Run has begun
	fail    chan error    // ends Run
	leave   func() error  // called when Run is to end; may be nil

	mu      sync.Mutex
	next    dynmesh.GossipUpdate
	watched map[dynmesh.Subject]string
	closed  bool          // Run was called with a context that had ended
	stuck   chan struct{} // Take returns once it is closed; nil: at once
}

func newFakePool() *fakePool {
	return &fakePool{
		changed: make(chan struct{}, 1), running: make(chan struct{}), fail: make(chan error), watched: map[dynmesh.Subject]string{},
		next: dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 1}},
	}
}

func (p *fakePool) Run(ctx context.Context) error {
	if ctx.Err() != nil {
		p.closed = true
		return nil
	}
	close(p.running)
	select {
	case err := <-p.fail:
		return err
	case <-ctx.Done():
	}
	if p.leave != nil {
		return p.leave()
	}
	return nil
}

func (p *fakePool) Self() dynmesh.Observer { return dynmesh.Observer{ID: 0xfe, Epoch: 1} }

func (p *fakePool) Changed() <-chan struct{} { return p.changed }

func (p *fakePool) Take() dynmesh.GossipUpdate {
	p.mu.Lock()
	stuck := p.stuck
	p.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.next
	p.next = dynmesh.GossipUpdate{Health: u.Health}
	return u
}

// say adds to the next update.
func (p *fakePool) say(u dynmesh.GossipUpdate) {
	p.mu.Lock()
	if u.Health != (dynmesh.GossipHealth{}) {
		p.next.Health = u.Health
	}
	p.next.Members = append(p.next.Members, u.Members...)
	p.next.Forgotten = append(p.next.Forgotten, u.Forgotten...)
	p.next.Observations = append(p.next.Observations, u.Observations...)
	p.next.Withdrawn = append(p.next.Withdrawn, u.Withdrawn...)
	p.mu.Unlock()
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *fakePool) WatchForeign(s dynmesh.Subject, at dynmesh.Foreign) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched[s] = at.Addr; at.Addr == "" {
		delete(p.watched, s)
	}
}
