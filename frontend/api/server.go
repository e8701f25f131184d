package api

import (
	"bytes"
	"cmp"
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
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"
	"github.com/valyala/fasthttp"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/internal/access"
)

// What one client can take.
const (
	readTimeout  = 5 * time.Second  // for a request's header, from its first byte
	writeTimeout = 30 * time.Second // for a whole answer
	idleTimeout  = 75 * time.Second // between requests; load balancers' usual 60 s end first
	maxHeader    = 8 << 10          // bytes of a request's header
	maxBody      = 4 << 10          // bytes of a request's body, which no route looks at
	maxScrapes   = 8                // at the same time
)

// maxDrainDelay is the longest time with 503 answers before the listener closes.
const maxDrainDelay = time.Second

// ErrEnded is the error of a part that has ended by itself, and named none.
var ErrEnded = errors.New("ended by itself")

// Server answers from the newest snapshot. Its methods may be called from any goroutine, but for
// Publish.
type Server struct {
	cfg Config
	log *logrus.Entry
	state

	access      *access.Access
	hosts       access.Hosts // that requests may be for
	connections *connections
	broadcaster *broadcaster
	events      *events
	compressors struct{ health, mesh *compressor }
	grpcHealth  *grpcHealth // nil: none
	metrics     *prometheus.Registry
	app         *fiber.App

	drainDelay time.Duration
	rendered   int64 // bytes rendered since slow clients were last looked at
}

// state is what all answers follow from.
type state struct {
	newest   atomic.Pointer[snapshot.Snapshot]
	draining atomic.Bool // whoever sends requests shall go elsewhere
	closing  atomic.Bool // the listener is about to close, or has
}

// New checks cfg and binds its ports, so that Addr is true from here on; until Run is called,
// connections wait. An error names the field or the address. The ports are bound until Run returns,
// or until Close where nobody calls Run.
func New(cfg Config, first *snapshot.Snapshot, epoch string) (*Server, error) {
	cfg, err := cfg.WithDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Log, drainDelay: min(maxDrainDelay, cfg.GracefulShutdownTimeout/5)}
	s.newest.Store(first)
	if s.access, err = access.New(cfg.Access, s.log); err != nil {
		return nil, err
	}
	ln, err := listen(net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port)))
	if err != nil {
		return nil, &dynmesh.ConfigError{Config: "frontend", Field: "Port", Err: err}
	}
	s.hosts = s.access.Hosts(ln.Addr())
	s.connections = newConnections(s.access.Listener(ln), s.log)
	s.broadcaster = newBroadcaster(epoch, cfg.MaxStreams, func() *snapshot.Mesh { return s.newest.Load().Mesh })
	s.events = &events{broadcaster: s.broadcaster, heartbeat: heartbeat, writeTimeout: writeTimeout}
	s.compressors.health, s.compressors.mesh = newCompressor(), newCompressor()
	if cfg.GRPCHealthAddr != "" {
		if s.grpcHealth, err = newGRPCHealth(cfg.GRPCHealthAddr, s.log, s.access, &s.state, s.broadcaster); err != nil {
			_ = ln.Close()
			return nil, &dynmesh.ConfigError{Config: "frontend", Field: "GRPCHealthAddr", Err: err}
		}
	}
	s.metrics = newMetrics(s)
	s.app = s.newApp()
	return s, nil
}

// listen binds a TCP address. Its error says what to do, in place of Go's chain of operations.
func listen(address string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err == nil {
		return ln, nil
	}
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
	return nil, fmt.Errorf("listen %s: %w; %s", address, err, hint)
}

// newApp builds the HTTP side. It does not listen.
func (s *Server) newApp() *fiber.App {
	app := fiber.New(fiber.Config{
		DisableStartupMessage: true,
		CaseSensitive:         true,
		BodyLimit:             maxBody,
		ReadBufferSize:        maxHeader,
		ReadTimeout:           readTimeout,
		WriteTimeout:          writeTimeout,
		IdleTimeout:           idleTimeout,
		ErrorHandler:          answerError,
	})
	server := app.Server()
	server.CloseOnShutdown = true // else clients send requests into connections that are about to close
	server.ConnState = func(c net.Conn, state fasthttp.ConnState) {
		if client, ok := c.(*conn); ok && (state == fasthttp.StateIdle || state == fasthttp.StateClosed) {
			client.sending.Store(nil)
		}
	}
	app.Use(s.direct, readOnly, s.admit)
	a := answers{&s.state, s.cfg.History, make(chan struct{}, maxQuestions)}
	for _, route := range []struct {
		path   string
		answer fiber.Handler
	}{
		{s.cfg.HealthPath, a.health},
		{meshPath, a.mesh},
		{meshPath + "/:endpoint", a.narrow},
		{meshPath + "/:endpoint/:instance", a.narrow},
		{readyPath, a.ready},
		{modelsPath + "*", a.model},
		{targetsPath, a.targets},
		{eventsPath, s.events.serve},
		{historyPath, a.transitions},
		{historyPath + "/counts", a.counts},
	} {
		app.Get(route.path, func(c *fiber.Ctx) error {
			if s.draining.Load() {
				return shuttingDown(c)
			}
			return route.answer(c)
		})
	}
	app.Get(s.cfg.LivePath, func(c *fiber.Ctx) error {
		if s.closing.Load() {
			return shuttingDown(c)
		}
		return a.live(c)
	})
	app.Get(metricsPath, adaptor.HTTPHandler(promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{
		// Each scrape renders its own answer: scrapers that pile up must not fill the memory.
		MaxRequestsInFlight: maxScrapes,
	})))
	mountPage(app, func() *snapshot.Mesh { return s.newest.Load().Mesh })
	return app
}

// Scheme is that of the server's URLs: http, or https.
func (s *Server) Scheme() string { return s.access.Scheme() }

// direct answers what may be meant for somebody else: a request for another host, and one that ends
// in two places. Servers before this one may have gone by the other, and taken what follows for a
// request of its own. Two lengths and two encodings the server below refuses itself.
func (s *Server) direct(c *fiber.Ctx) error {
	switch host := string(c.Request().Host()); { // a copy, as errors outlive the request
	case endsTwice(c.Request().Header.RawHeaders()):
		c.Response().Header.SetConnectionClose()
		return &refusal{fiber.StatusBadRequest, access.Ambiguous}
	case !s.hosts.Admits(host):
		c.Response().Header.SetConnectionClose()
		return &refusal{fiber.StatusForbidden, s.hosts.Misdirected(host)}
	}
	return c.Next()
}

// endsTwice says whether the lines of a head have both a length and an encoding. The header itself
// has one of them by now.
func endsTwice(head []byte) bool {
	length, encoding := false, false
	for line := range bytes.Lines(head) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		length = length || bytes.EqualFold(bytes.TrimSpace(name), []byte(fiber.HeaderContentLength))
		encoding = encoding || bytes.EqualFold(bytes.TrimSpace(name), []byte(fiber.HeaderTransferEncoding))
	}
	return length && encoding
}

// admit answers who has no token and needs one.
func (s *Server) admit(c *fiber.Ctx) error {
	kind := access.Fleet
	switch trimSlash(c.Path()) {
	case trimSlash(s.cfg.LivePath):
		kind = access.Liveness
	case trimSlash(s.cfg.HealthPath), readyPath:
		kind = access.Health
	}
	if s.access.Admits(kind, c.Get(fiber.HeaderAuthorization)) {
		return c.Next()
	}
	c.Set(fiber.HeaderWWWAuthenticate, access.Challenge)
	c.Response().Header.SetConnectionClose()
	return fiber.ErrUnauthorized
}

// Addr returns the host:port that the server listens on.
func (s *Server) Addr() string { return s.connections.Addr().String() }

// GRPCHealthAddr returns the host:port at which grpc.health.v1 is answered; empty if it is not.
func (s *Server) GRPCHealthAddr() string {
	if s.grpcHealth == nil {
		return ""
	}
	return s.grpcHealth.listener.Addr().String()
}

// Publish makes now what is answered. It does not block, and may be called before, during and after
// Run; one goroutine calls it.
func (s *Server) Publish(now *snapshot.Snapshot) {
	old := s.newest.Swap(now)
	if now.Health != old.Health {
		s.compressors.health.Publish(&now.Health.Response)
		s.rendered += int64(now.Health.Identity.Size)
	}
	if now.Mesh != old.Mesh {
		s.compressors.mesh.Publish(&now.Mesh.Response)
		s.rendered += int64(now.Mesh.Identity.Size)
		s.broadcaster.Publish()
	}
	// What slow clients keep grows only as new answers are rendered, so that is the clock by which
	// to look: the bound holds to within a quarter, and a quiet fleet costs nothing.
	if s.rendered > s.connections.maxReplaced/4 {
		s.rendered = 0
		s.connections.shedSlow()
	}
}

// Close releases the ports of a server that does not run.
func (s *Server) Close() {
	_ = s.connections.Close()
	if s.grpcHealth != nil {
		_ = s.grpcHealth.listener.Close()
	}
}

// Run serves until ctx ends, then shuts down in order and returns nil: all routes but the metrics
// and the page answer 503 first, while the listener still accepts; then it closes, and answers on
// their way are finished, until GracefulShutdownTimeout is over. Everything that Run started has
// ended when it returns. It returns an error when serving ends by itself. A Server runs once.
func (s *Server) Run(ctx context.Context) error {
	defer s.Close()
	if ctx.Err() != nil {
		return nil
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	// The background outlives ctx until requests are done.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	for _, run := range []func(context.Context){s.compressors.health.run, s.compressors.mesh.run, s.broadcaster.run} {
		parts.Go(func() { run(background) })
	}
	served := make(chan struct{})
	var serveErr error
	parts.Go(func() {
		defer close(served)
		serveErr = s.app.Listener(s.connections)
	})
	probed := make(chan error, 1) // has a value when gRPC health has ended by itself
	if s.grpcHealth != nil {
		parts.Go(func() { probed <- s.grpcHealth.serve() })
		s.log.WithField("addr", s.GRPCHealthAddr()).Info("Frontend answers gRPC health checks")
	}
	s.log.WithField("addr", s.Addr()).Info("Frontend listens")
	var err error
	select {
	case <-ctx.Done():
	case <-served:
		err = fmt.Errorf("serve %s: %w", s.Addr(), cmp.Or(serveErr, ErrEnded))
	case cause := <-probed:
		err = fmt.Errorf("serve gRPC health at %s: %w", s.GRPCHealthAddr(), cmp.Or(cause, ErrEnded))
	}
	s.drain(served)
	return err
}

// drain ends the HTTP side within GracefulShutdownTimeout. served is closed when the accepting loop
// has ended.
func (s *Server) drain(served <-chan struct{}) {
	timeout := s.cfg.GracefulShutdownTimeout
	s.draining.Store(true)
	s.broadcaster.Close() // streams would outlast every timeout
	s.log.WithFields(logrus.Fields{"addr": s.Addr(), "dur": timeout}).Info("Frontend is shutting down; dur is the time allowed")
	// Load balancers see the 503, where a closed port would cost them failed requests.
	select {
	case <-time.After(s.drainDelay):
	case <-served:
	}
	s.closing.Store(true)

	var probes sync.WaitGroup
	defer probes.Wait()
	if s.grpcHealth != nil {
		probes.Go(func() { s.grpcHealth.stop(timeout - s.drainDelay) })
	}
	err := s.app.ShutdownWithTimeout(timeout - s.drainDelay)
	// The server knows its listener only once it accepts, and it leaves connections open that
	// outlast the timeout.
	_ = s.connections.Close()
	<-served
	if n := s.connections.closeAll(); err != nil && n > 0 {
		s.log.WithField("connections", n).Warn("Connections closed by force: they outlasted the shutdown timeout")
	}
	s.connections.wait()
}

// Newest returns what is answered now.
func (s *Server) Newest() *snapshot.Snapshot { return s.newest.Load() }

// Metrics is what /metrics tells.
func (s *Server) Metrics() prometheus.Gatherer { return s.metrics }
