package web_test

import (
	"context"
	"sync"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend"
	"github.com/dynmesh/dynmesh/gossip"
)

var _ frontend.Pool = (*pool)(nil)

// pool is gossip that a test speaks through: what it says comes as one update.
type pool struct {
	changed chan struct{}

	mu   sync.Mutex
	next gossip.Update
}

func newPool() *pool {
	return &pool{changed: make(chan struct{}, 1), next: gossip.Update{Health: gossip.Health{Alive: 1}}}
}

func (p *pool) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (p *pool) Close() error                     { return nil }
func (p *pool) Self() dynmesh.Observer           { return dynmesh.Observer{ID: self, Epoch: 1} }
func (p *pool) Changed() <-chan struct{}         { return p.changed }
func (p *pool) WatchForeign(gossip.Foreign)      {}
func (p *pool) UnwatchForeign(_ dynmesh.Subject) {}

func (p *pool) Take() gossip.Update {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.next
	p.next = gossip.Update{Health: u.Health}
	return u
}

func (p *pool) say(u gossip.Update) {
	p.mu.Lock()
	if u.Health != (gossip.Health{}) {
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
