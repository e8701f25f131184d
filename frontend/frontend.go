package frontend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

// source is where the state comes from: a discovery.Watcher. Run calls apply from one goroutine, in order, until ctx ends.
// An update names no instance twice.
type source interface {
	Run(ctx context.Context, apply func(dynmesh.RegistryUpdate)) error
}

// limits bound what one client can take.
type limits struct {
	read   time.Duration // for a request's header, from its first byte
	write  time.Duration // for a whole answer
	idle   time.Duration // between requests; longer than load balancers' usual 60 s, so that they close first
	header int           // bytes of a request's header
	body   int           // bytes of a request's body, which no route reads
	pinned int           // bytes of replaced answers that slow clients may hold together
	linger time.Duration // longest time with 503 answers before the listener closes

	heartbeat time.Duration // longest time without a word on a stream
	pace      time.Duration // least time between two events
	held      int           // bytes of events that are held for streams that are behind
}

var defaultLimits = limits{
	read:   5 * time.Second,
	write:  30 * time.Second,
	idle:   75 * time.Second,
	header: 8 << 10,
	body:   4 << 10,
	pinned: 256 << 20,
	linger: time.Second,

	heartbeat: 15 * time.Second,
	pace:      100 * time.Millisecond,
	held:      16 << 20,
}

// Frontend watches the registry and serves what is in it. Its methods may be called from any goroutine.
type Frontend struct {
	cfg    Config
	limits limits
	log    *logrus.Entry

	source      source
	registry    *registry
	feed        *feed
	compressors [2]*compressor // of listings, and of views
	connections *connections
	metrics     *prometheus.Registry
	grpcHealth  *grpcHealth // nil: none
	app         *fiber.App

	started  atomic.Bool
	stopping atomic.Bool
	rendered int // bytes rendered since slow clients were last looked at; the registry's goroutine only
}

// New checks cfg and binds the port, so that Addr is true from here on; until Run is called, connections wait. An error
// names the field or the address. The port is bound until Run returns: a Frontend that is not wanted any more is
// released by calling Run with a context that has ended. That releases its Pool as well; when New fails, the Pool is the
// caller's to close.
func New(cfg Config) (*Frontend, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("frontend config: %w", err)
	}
	watcher, err := discovery.NewWatcher(discovery.WatcherConfig{Etcd: cfg.Etcd, Members: true, Log: cfg.Log})
	if err != nil {
		return nil, fmt.Errorf("frontend config: Etcd: %w", err)
	}
	return newFrontend(cfg, defaultLimits, watcher)
}

// newFrontend is New for a config with its defaults filled in.
func newFrontend(cfg Config, limits limits, source source) (*Frontend, error) {
	f := &Frontend{cfg: cfg, limits: limits, source: source, log: cfg.Log}
	address := net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port))
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, listenError(address, err)
	}
	f.connections = newConnections(ln, f.log)
	f.compressors = [2]*compressor{newCompressor(), newCompressor()}
	f.registry = newRegistry(f.log, f.published)
	mesh := newMesh(f.log, cfg.Pool)
	mesh.expect(cfg.Expect)
	f.registry.withMesh(mesh)
	f.feed = newFeed(mesh.epoch, limits, func() *view { return f.registry.page.Load().view })
	if cfg.GRPCHealthAddr != "" {
		if f.grpcHealth, err = newGRPCHealth(f, cfg.GRPCHealthAddr); err != nil {
			_ = ln.Close()
			return nil, fmt.Errorf("gRPC health: %w", err)
		}
	}
	f.metrics = newMetrics(f, source)
	f.app = f.newApp()
	return f, nil
}

// listenError says what to do, in place of Go's chain of operations.
func listenError(address string, err error) error {
	hint := "check Host and Port"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "stop the other program or choose another port (0: any free one)"
	case errors.Is(err, syscall.EACCES):
		hint = "choose a port from 1024 on, or grant the right to bind lower ones"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = "choose an address that this machine has (0.0.0.0: all of them)"
	}
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		err = errno
	}
	return fmt.Errorf("listen %s: %w; %s", address, err, hint)
}

// Addr returns the host:port that the frontend listens on.
func (f *Frontend) Addr() string { return f.connections.Addr().String() }

// GRPCHealthAddr returns the host:port at which grpc.health.v1 is answered; empty if it is not.
func (f *Frontend) GRPCHealthAddr() string {
	if f.grpcHealth == nil {
		return ""
	}
	return f.grpcHealth.listener.Addr().String()
}

// published is called by the registry's goroutine after each new page.
func (f *Frontend) published(old, now *page) {
	if now.listing != old.listing {
		f.compressors[0].offer(&now.document)
		f.rendered += now.plain.size
	}
	if now.view != old.view {
		f.compressors[1].offer(&now.view.document)
		f.rendered += now.view.plain.size
		f.feed.offer()
	}
	// Pinned bytes grow only as new answers are rendered, so that is the clock by which to look: the bound holds to
	// within a quarter, and a quiet registry never looks.
	if f.rendered > f.limits.pinned/4 {
		f.rendered = 0
		f.connections.relieve(f.limits.pinned, now.plain, now.view.plain)
	}
}

// Run serves until ctx ends, then shuts down in order and returns nil. /live and /health answer 503 first, while the
// listener still accepts; then it closes, and answers on their way are finished, until GracefulShutdownTimeout is over;
// then it leaves the pool, and the watcher ends. Everything that Run started has ended when it returns.
//
// It returns an error when serving, watching or gossip ends by itself. A Frontend runs once.
func (f *Frontend) Run(ctx context.Context) error {
	if !f.started.CompareAndSwap(false, true) {
		return errors.New("run frontend: it has run before, make a new one")
	}
	defer func() { _ = f.connections.Close() }() // drain has closed it already, unless there was nothing to drain
	if ctx.Err() != nil {
		if f.grpcHealth != nil {
			f.grpcHealth.close()
		}
		return f.closePool()
	}

	var parts sync.WaitGroup
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx)) // it outlives ctx until requests are done
	defer stopWatching()
	updates := make(chan dynmesh.RegistryUpdate, 64)
	watched := make(chan error, 1)
	parts.Go(func() {
		err := f.source.Run(watching, func(u dynmesh.RegistryUpdate) { updates <- u })
		close(updates)
		watched <- err
	})
	parts.Go(func() {
		f.registry.run(updates)
		for _, c := range f.compressors {
			c.stop()
		}
		f.feed.stop()
	})
	parts.Go(f.feed.run)
	for _, c := range f.compressors {
		parts.Go(c.run)
	}
	served := make(chan struct{})
	var serveErr error
	parts.Go(func() {
		defer close(served)
		serveErr = f.app.Listener(f.connections)
	})
	probed := make(chan error, 1) // has a value when gRPC health has ended by itself
	if f.grpcHealth != nil {
		parts.Go(func() { probed <- f.grpcHealth.serve() })
		f.log.WithField("addr", f.GRPCHealthAddr()).Info("Frontend answers gRPC health checks")
	}
	gossiped, leave := f.gossips(ctx)
	f.log.WithField("addr", f.Addr()).Info("Frontend listens")

	var err error
	select {
	case <-ctx.Done():
	case cause := <-watched:
		err = fmt.Errorf("watch registry: %w", orEnded(cause))
	case <-served:
		err = fmt.Errorf("serve %s: %w", f.Addr(), orEnded(serveErr))
	case cause := <-probed:
		err = fmt.Errorf("serve gRPC health at %s: %w", f.GRPCHealthAddr(), orEnded(cause))
	case cause := <-gossiped:
		err = fmt.Errorf("gossip: %w", cause)
	}
	f.drain(served)
	if cause := leave(); cause != nil && err == nil {
		err = fmt.Errorf("leave gossip: %w", cause)
	}
	stopWatching()
	parts.Wait()
	if err != nil {
		return fmt.Errorf("run frontend: %w", err)
	}
	f.log.WithField("addr", f.Addr()).Info("Frontend stopped")
	return nil
}

func orEnded(err error) error {
	if err == nil {
		return errors.New("ended by itself")
	}
	return err
}

// drain ends the HTTP side within GracefulShutdownTimeout. served is closed when the accepting loop has ended.
func (f *Frontend) drain(served <-chan struct{}) {
	timeout := f.cfg.GracefulShutdownTimeout
	linger := min(f.limits.linger, timeout/5)
	f.stopping.Store(true)
	f.feed.end() // streams would outlast every timeout
	f.log.WithFields(logrus.Fields{"addr": f.Addr(), "dur": timeout}).Info("Frontend is shutting down; dur is the time allowed")
	select {
	case <-time.After(linger): // load balancers see the 503, where a closed port would cost them failed requests
	case <-served:
	}

	var probes sync.WaitGroup
	defer probes.Wait()
	if f.grpcHealth != nil {
		probes.Go(func() { f.grpcHealth.stop(timeout - linger) })
	}
	err := f.app.ShutdownWithTimeout(timeout - linger)
	// The server knows its listener only once it accepts, and it leaves connections open that outlast the timeout.
	_ = f.connections.Close()
	<-served
	if n := f.connections.closeAll(); err != nil && n > 0 {
		f.log.WithField("connections", n).Warn("Connections closed by force: they outlasted the shutdown timeout")
	}
	f.connections.wait()
}
