package frontend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/frontend/api"
	"github.com/dynmesh/dynmesh/frontend/history"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
)

// Pool is the gossip that a frontend takes part in. *[gossip.Pool] is one.
type Pool interface {
	// Run takes part until ctx ends, then leaves, and returns when everything has stopped. If ctx
	// has ended before, it only releases the pool.
	Run(ctx context.Context) error

	// Self is this process's incarnation in the pool.
	Self() dynmesh.Observer

	// Changed has a value when Take has something. Nothing is kept for Take before Changed is first
	// called; what is known then comes all the same. One goroutine reads both.
	Changed() <-chan struct{}
	Take() dynmesh.GossipUpdate

	// WatchForeign has an instance watched whose worker is no member, in place of where it was watched
	// before; the zero value ends that. It does not block.
	WatchForeign(subject dynmesh.Subject, at dynmesh.Foreign)
}

// Frontend watches the registry and serves what is in it. Its methods may be called from any
// goroutine.
type Frontend struct {
	cfg     Config
	log     *logrus.Entry
	sources []discovery.Named
	member  *etcd.Registrar // nil: it is not registered
	loop    *loop
	server  *api.Server
	history *history.Journal // nil: it keeps none
	started atomic.Bool
}

// New checks cfg and binds the port, so that Addr is true from here on; until Run is called,
// connections wait. An error names the field or the address. The port is bound until Run returns: a
// Frontend that is not wanted any more is released by calling Run with a context that has ended.
// That releases its Pool as well; when New fails, the Pool is the caller's to close.
func New(cfg Config) (*Frontend, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("frontend config: %w", err)
	}
	sources, err := newSources(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Gossip == nil {
		return newFrontend(cfg, sources...)
	}
	m, err := newMembership(cfg)
	if err != nil {
		return nil, err // it says what it is about
	}
	cfg.Pool = m.pool
	f, err := newFrontend(cfg, sources...)
	if err != nil {
		return nil, errors.Join(err, m.pool.Close())
	}
	if cfg.NoEtcd {
		return f, nil
	}
	if f.member, err = m.register(cfg, f.server.Scheme(), f.Addr()); err != nil {
		f.server.Close()
		return nil, errors.Join(fmt.Errorf("frontend config: %w", err), m.pool.Close())
	}
	return f, nil
}

// newFrontend is New for a config with its defaults filled in.
func newFrontend(cfg Config, sources ...discovery.Named) (*Frontend, error) {
	f := &Frontend{cfg: cfg, log: cfg.Log, sources: sources}
	served := cfg.api()
	served.Collectors = append(slices.Clone(served.Collectors), registryMetrics(sources))
	parts := []any{cfg.Pool}
	var names []string
	for _, s := range sources {
		parts = append(parts, s.Source)
		names = append(names, s.Name)
	}
	f.loop = newLoop(cfg, func(s *snapshot.Snapshot) { f.server.Publish(s) }, names...)
	var err error
	if f.history, err = openHistory(cfg, func() *snapshot.Mesh { return f.server.Newest().Mesh }); err != nil {
		return nil, err
	}
	if f.history != nil {
		f.loop.recorder = newRecorder(f.history, f.loop.causes.table, f.loop.router.shown())
		served.History = f.history
		served.Collectors = append(served.Collectors, f.history)
	}
	served.Collectors = append(served.Collectors, f.loop.senses)
	if f.loop.router != nil {
		served.Collectors = append(served.Collectors, outputMetrics{f.loop.router})
	}
	for _, o := range cfg.Outputs {
		parts = append(parts, o)
	}
	for _, part := range parts {
		if c, ok := part.(prometheus.Collector); ok {
			served.Collectors = append(served.Collectors, c)
		}
	}
	if f.server, err = api.New(served, f.loop.builder.Snapshot(), f.loop.builder.Epoch()); err != nil {
		return nil, err
	}
	return f, nil
}

// Addr returns the host:port that the frontend listens on.
func (f *Frontend) Addr() string { return f.server.Addr() }

// GRPCHealthAddr returns the host:port at which grpc.health.v1 is answered; empty if it is not.
func (f *Frontend) GRPCHealthAddr() string { return f.server.GRPCHealthAddr() }

// Run serves until ctx ends, then shuts down in order and returns nil: requests are drained within
// GracefulShutdownTimeout ([api.Server.Run]), then it leaves the pool, and the watcher ends.
// Everything that Run started has ended when it returns.
//
// It returns an error when serving, watching or gossip ends by itself. A Frontend runs once.
func (f *Frontend) Run(ctx context.Context) error {
	if !f.started.CompareAndSwap(false, true) {
		return errors.New("run frontend: it has run before, make a new one")
	}
	if ctx.Err() != nil {
		f.server.Close()
		f.loop.router.run(ctx, nil)
		return f.releasePool(ctx)
	}
	if err := f.run(ctx); err != nil {
		return fmt.Errorf("run frontend: %w", err)
	}
	f.log.WithField("addr", f.Addr()).Info("Frontend stopped")
	return nil
}

func (f *Frontend) run(ctx context.Context) error {
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	failed := make(chan error, 2+len(f.sources)+len(f.cfg.Outputs)) // of a part that ended by itself
	fail := func(err error) {
		failed <- err
		stopServing()
	}

	// The sources and the loop outlive ctx until requests are done.
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	gossiping, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	var line, gossips sync.WaitGroup
	updates := make(chan dynmesh.RegistryUpdate, 64)
	line.Go(func() { followAll(watching, f.sources, updates, fail) })
	line.Go(func() { f.loop.run(updates) })
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	var kept sync.WaitGroup
	if f.history != nil {
		kept.Go(func() { f.history.Run(keeping) })
	}
	var leaving error
	if f.cfg.Pool != nil {
		gossips.Go(func() {
			err := f.cfg.Pool.Run(gossiping)
			if gossiping.Err() == nil {
				fail(fmt.Errorf("gossip: %w", cmp.Or(err, api.ErrEnded)))
			} else if err != nil {
				leaving = fmt.Errorf("leave gossip: %w", err)
			}
		})
	}

	// It deregisters while it drains: nobody is to find it any more.
	var registration sync.WaitGroup
	var unregistered error
	if f.member != nil {
		registration.Go(func() {
			if err := f.member.Run(serving); serving.Err() == nil {
				fail(fmt.Errorf("register: %w", cmp.Or(err, api.ErrEnded)))
			} else if err != nil {
				unregistered = fmt.Errorf("deregister: %w", err)
			}
		})
	}

	var outputs sync.WaitGroup
	outputs.Go(func() { f.loop.router.run(serving, fail) })

	err := f.server.Run(serving)
	stopServing()
	outputs.Wait()
	registration.Wait()
	leave()
	gossips.Wait()
	stopWatching()
	line.Wait()
	stopKeeping()
	kept.Wait()
	select {
	case cause := <-failed:
		if err == nil {
			err = cause
		}
	default:
	}
	if err == nil {
		err = errors.Join(unregistered, leaving)
	}
	return err
}

// releasePool releases the pool of a frontend that does not serve, because ctx has ended.
func (f *Frontend) releasePool(ctx context.Context) error {
	if f.cfg.Pool == nil {
		return nil
	}
	if err := f.cfg.Pool.Run(ctx); err != nil {
		return fmt.Errorf("run frontend: close gossip: %w", err)
	}
	return nil
}
