package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
)

// systemTimeout bounds the answers of the status server that are under way when it stops.
const systemTimeout = time.Second

// Run serves both servers, is a member of the mesh, and keeps the endpoints registered, from
// Config.RegisterAfter on, until ctx ends. Then it stops in this order, and returns when all of it has:
//
//	not ready            and the mesh is told so
//	deregistered         nobody is sent here any more
//	requests finished    new ones are refused; within Config.GracefulShutdownTimeout
//	left the mesh        until then, the state of the endpoints is told
//	status server        last, so that probes are answered until the end
//
// Only a handler that ignores its context may still be running, which is logged.
//
// Run returns nil after a shutdown, and an error when a server died, gossip did, or it could not
// start. That etcd or other members are away is never an error. It may be called once.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.run(ctx); err != nil {
		return fmt.Errorf("run worker: %w", err)
	}
	return nil
}

func (w *Worker) run(ctx context.Context) error {
	if err := w.begin(); err != nil {
		return err
	}
	defer w.mesh.close()
	requests, cancelRequests := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancelRequests(errStopping)
	w.system.routes, w.rpc.routes = statusRoutes(w), rpcRoutes(requests, w)
	w.announce()

	// Clients may connect before this: both servers are bound. stopping ends with ctx, or with the
	// first part that fails; the parts end in their order.
	group, stopping := errgroup.WithContext(ctx)
	serve := func(what string, f func() error) {
		group.Go(func() error {
			if err := f(); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	serve("serve status", w.system.serve)
	serve("serve requests", w.rpc.serve)
	leave, unwatch := func() {}, func() {}
	if w.mesh.pool != nil {
		leave = start(ctx, group, w.mesh.pool.Run)
	}
	if w.monitor != nil {
		unwatch = start(ctx, group, w.checkEndpoints)
	}
	deregister := start(ctx, group, w.register)
	<-stopping.Done()

	w.log.WithField("cause", context.Cause(stopping)).Info("Shutting down: not ready")
	w.stopping.Store(true)
	w.mesh.drain()
	if w.monitor != nil {
		w.monitor.Drain() // no more canaries, and metrics say why
	}
	w.step("deregistered", deregister)
	w.step("requests finished", func() {
		w.rpc.stop(w.cfg.GracefulShutdownTimeout, func() { cancelRequests(errStopping) })
	})
	unwatch()
	if w.mesh.pool != nil {
		w.step("left gossip", leave)
	}
	w.step("status server stopped", func() { w.system.stop(systemTimeout, func() {}) })
	return group.Wait()
}

// begin ends the time in which endpoints may be declared.
func (w *Worker) begin() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.stage {
	case running:
		return errors.New("it was called before")
	case closed:
		return errors.New("the worker is closed")
	}
	w.stage = running
	return nil
}

// start runs a part whose end is not that of ctx: stop ends it, and returns when it has.
func start(ctx context.Context, group *errgroup.Group, part func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	group.Go(func() error {
		defer close(done)
		return part(ctx)
	})
	return func() {
		cancel()
		<-done
	}
}

// announce says what there is. Where there are canaries, they say later whether it works.
func (w *Worker) announce() {
	w.mesh.reportProcess(false)
	for _, e := range w.sorted() {
		if w.monitor == nil {
			e.status.set(Ready)
		}
		w.mesh.report(canary.Status{Endpoint: e.name, Finding: dynmesh.Unchecked, Ready: e.status.get() == Ready})
	}
	for _, name := range w.cfg.UseEndpointHealthStatus {
		if w.endpoints[name] == nil {
			w.log.WithField("endpoint", name).Warn("The worker will never be ready: it is to wait for an endpoint that it does not serve (DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS)")
		}
	}
	w.log.WithFields(map[string]any{
		"endpoint": strings.Join(w.names(), ","), "addr": w.RPCAddr(), "system": w.SystemAddr(), "advertised": w.host,
	}).Info("Worker serves")
}

// checkEndpoints runs the monitor, which must be there, until ctx ends. All canaries have ended when
// it returns.
func (w *Worker) checkEndpoints(ctx context.Context) error {
	for _, e := range w.sorted() {
		check := e.check
		check.Name = e.name
		if check.Activity == nil {
			check.Activity = e.activity
		}
		if err := w.monitor.Serve(check); err != nil {
			return fmt.Errorf("watch endpoints: %w", err)
		}
	}
	if err := w.monitor.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("watch endpoints: %w", err)
	}
	return nil
}

// register keeps the endpoints registered until ctx ends, which is bounded: see
// [discovery.Registrar.Run].
func (w *Worker) register(ctx context.Context) error {
	if w.cfg.RegisterAfter != nil {
		select {
		case <-w.cfg.RegisterAfter:
		case <-ctx.Done():
			return nil
		}
	}
	return w.registrar.Run(ctx)
}

func (w *Worker) step(done string, f func()) {
	start := time.Now()
	f()
	w.log.WithField("dur", time.Since(start).Round(time.Microsecond)).Info("Shutting down: " + done)
}
