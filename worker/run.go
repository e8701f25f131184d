package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// systemTimeout bounds the answers of the status server that are under way when it stops.
const systemTimeout = time.Second

// Run serves both servers and keeps the endpoints registered, from Config.RegisterAfter on, until ctx ends. Then it is not
// ready at once and tells the mesh so, removes the endpoints from the registry, lets requests finish for
// Config.GracefulShutdownTimeout while it refuses new ones, leaves the mesh, and stops answering probes last. It returns
// when all of that has ended; only a handler that ignores its context may still be running, which is logged.
//
// Run returns nil after a shutdown, and an error when a server died, gossip did, or it could not start. That etcd or other
// members are away is never an error. It may be called once.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.start(); err != nil {
		return fmt.Errorf("run worker: %w", err)
	}
	defer w.closePool()
	requests, cutRequests := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cutRequests(errStopping)
	w.system.routes, w.rpc.routes = statusRoutes(w), rpcRoutes(requests, w)

	var serving sync.WaitGroup
	defer serving.Wait()
	died := make(chan error, 5) // one for each of the goroutines
	serve := func(what string, f func() error) {
		serving.Go(func() {
			if err := f(); err != nil {
				died <- fmt.Errorf("run worker: %s: %w", what, err)
			}
		})
	}
	serve("serve status", w.system.serve)
	serve("serve requests", w.rpc.serve)

	// The registry is told when the endpoints are served, not before: who reads it may call at once.
	var err error
	select {
	case <-w.rpc.ln.accepting:
	case err = <-died:
	}
	registration, deregister := context.WithCancel(context.WithoutCancel(ctx))
	defer deregister()
	var registered sync.WaitGroup
	watching, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	defer unwatch()
	leave := func() {}
	if err == nil {
		w.announce()
		leave = w.join(ctx, died)
		if w.monitor != nil {
			serve("watch endpoints", func() error { return w.watch(watching) })
		}
		registered.Go(func() {
			if !w.mayRegister(registration) {
				return
			}
			if err := w.registrar.Run(registration); err != nil {
				died <- fmt.Errorf("run worker: %w", err)
			}
		})
		select {
		case <-ctx.Done():
		case err = <-died:
		}
	}

	w.log.WithField("cause", cause(ctx, err)).Info("Shutting down: not ready")
	w.stopping.Store(true)
	w.drains()
	if w.monitor != nil {
		w.monitor.Drain() // no more canaries, and metrics say why
	}
	w.step("deregistered", func() {
		deregister()
		registered.Wait() // bounded: see discovery.Registrar.Run
	})
	w.step("requests finished", func() {
		w.rpc.stop(w.cfg.GracefulShutdownTimeout, func() { cutRequests(errStopping) })
	})
	unwatch()
	leave()
	w.step("status server stopped", func() { w.system.stop(systemTimeout, func() {}) })
	return err
}

// start ends the time in which endpoints may be declared.
func (w *Worker) start() error {
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

func (w *Worker) announce() {
	for _, name := range w.names() {
		if w.monitor == nil {
			w.endpoints[name].status.set(Ready)
		}
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

// mayRegister waits for Config.RegisterAfter. It returns false when ctx ends before.
func (w *Worker) mayRegister(ctx context.Context) bool {
	if w.cfg.RegisterAfter == nil {
		return true
	}
	select {
	case <-w.cfg.RegisterAfter:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *Worker) step(done string, f func()) {
	start := time.Now()
	f()
	w.log.WithField("dur", time.Since(start).Round(time.Microsecond)).Info("Shutting down: " + done)
}

func cause(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	return context.Cause(ctx)
}
