package worker

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/gossip"
)

// onlooker is a frontend's membership, and what members report to it.
type onlooker struct {
	*gossip.Pool

	mu       sync.Mutex
	members  map[dynmesh.Observer]dynmesh.Member
	findings map[dynmesh.ObservationKey]dynmesh.Observation
	drained  map[dynmesh.InstanceID]time.Time // when that was heard
}

// startOnlooker runs a pool beside the workers until the test ends.
func startOnlooker(t *testing.T, registry etcd.Config) *onlooker {
	t.Helper()
	pool, err := gossip.NewPool(gossip.Config{
		Role: dynmesh.RoleFrontend, Bind: "127.0.0.1:0", Keyring: gossip.Unencrypted(),
		Seeds: func(ctx context.Context) ([]string, error) {
			members, err := etcd.SampleMembers(ctx, registry, 16)
			return discovery.GossipAddrs(members), err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := &onlooker{
		Pool: pool, members: map[dynmesh.Observer]dynmesh.Member{}, findings: map[dynmesh.ObservationKey]dynmesh.Observation{},
		drained: map[dynmesh.InstanceID]time.Time{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	changed := pool.Changed()
	running.Go(func() {
		for {
			select {
			case <-changed:
				o.apply(pool.Take())
			case <-ctx.Done():
				return
			}
		}
	})
	running.Go(func() {
		if err := pool.Run(ctx); err != nil {
			t.Errorf("the frontend's pool: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return o
}

func (o *onlooker) apply(u dynmesh.GossipUpdate) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range u.Members {
		o.members[m.Observer] = m
	}
	for _, gone := range u.Forgotten {
		delete(o.members, gone)
	}
	for _, f := range u.Observations {
		o.findings[dynmesh.ObservationKey{Observer: f.Observer, Subject: f.Subject}] = f
		if _, seen := o.drained[f.Subject.ID]; f.Draining && !seen {
			o.drained[f.Subject.ID] = time.Now()
		}
	}
	for _, k := range u.Withdrawn {
		delete(o.findings, k)
	}
}

// own returns what a worker says of itself; of one endpoint, or as a whole.
func (o *onlooker) own(w *Worker, endpoint string) (f dynmesh.Observation, ok bool) {
	s := dynmesh.Subject{ID: w.ID()}
	if endpoint != "" {
		s.Endpoint = dynmesh.Endpoint{Namespace: w.cfg.Namespace, Component: w.cfg.Component, Name: endpoint}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	f, ok = o.findings[dynmesh.ObservationKey{Observer: w.mesh.pool.Self(), Subject: s}]
	return f, ok
}

// says tells whether a worker's own finding is this one.
func (o *onlooker) says(w *Worker, endpoint string, finding dynmesh.Finding, ready bool) bool {
	f, ok := o.own(w, endpoint)
	return ok && f.Finding == finding && f.Ready == ready
}

func (o *onlooker) state(w *Worker) dynmesh.MemberState {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.members[w.mesh.pool.Self()].State
}

// watched says whether another member finds the worker reachable.
func (o *onlooker) watched(w *Worker) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.ContainsFunc(slices.Collect(maps.Values(o.findings)), func(f dynmesh.Observation) bool {
		return f.Subject == dynmesh.Subject{ID: w.ID()} && f.Kind == dynmesh.KindPath && f.Finding == dynmesh.Pass
	})
}

// meshed is a worker's configuration with gossip, on loopback.
func meshed(registry etcd.Config) Config {
	cfg := local()
	cfg.Etcd = registry
	cfg.Gossip = &gossip.Config{Bind: "127.0.0.1:0", Keyring: gossip.Unencrypted()}
	return cfg
}
