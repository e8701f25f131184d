package web_test

import (
	"context"
	"sync"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend"
)

var _ frontend.Pool = (*pool)(nil)

// pool is gossip that a test speaks through: what it says comes as one update.
type pool struct {
	changed chan struct{}

	mu   sync.Mutex
	next dynmesh.GossipUpdate
}

func newPool() *pool {
	return &pool{changed: make(chan struct{}, 1), next: dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 1}}}
}

func (p *pool) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (p *pool) Self() dynmesh.Observer                        { return dynmesh.Observer{ID: self, Epoch: 1} }
func (p *pool) Changed() <-chan struct{}                      { return p.changed }
func (p *pool) WatchForeign(dynmesh.Subject, dynmesh.Foreign) {}

func (p *pool) Take() dynmesh.GossipUpdate {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.next
	p.next = dynmesh.GossipUpdate{Health: u.Health}
	return u
}

func (p *pool) say(u dynmesh.GossipUpdate) {
	p.mu.Lock()
	if u.Health != (dynmesh.GossipHealth{}) {
		p.next.Health = u.Health
	}
	p.next.Members = append(p.next.Members, u.Members...)
	p.next.Observations = append(p.next.Observations, u.Observations...)
	p.mu.Unlock()
	select {
	case p.changed <- struct{}{}:
	default:
	}
}
