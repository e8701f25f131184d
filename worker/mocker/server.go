package mocker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/logging"
)

// DefaultAddr is where a [Server] listens when it is told nothing: a free port of the loopback
// interface.
const DefaultAddr = "127.0.0.1:0"

// relisten is how often a server whose port was taken while it refused tries to have it back.
const relisten = 50 * time.Millisecond

// ServerConfig says where a [Server] listens.
type ServerConfig struct {
	Engine      *Engine       // required
	Addr        string        // host:port of the engine; default DefaultAddr
	ControlAddr string        // host:port of /mock/knobs; default DefaultAddr
	Log         *logrus.Entry // nil discards
}

// Server is an engine behind HTTP, as vLLM's server is:
//
//	POST /v1/completions, /v1/chat/completions   GET /v1/models, /health, /metrics
//
// On a second address, /mock/knobs shows the engine's knobs (GET), replaces them (PUT: what is
// missing gets its default) and changes some (PATCH: what is missing stays). Those answer with the
// knobs that are then in force, or with 400 and one line. /health answers 200 as long as the engine
// listens, whatever else ails it: real ones do.
type Server struct {
	engine  *Engine
	log     *logrus.Entry
	addr    string
	control net.Listener

	mu      sync.Mutex
	ctx     context.Context // of Run; nil before it
	pending net.Listener    // bound, not yet served
	serving *listenerServer // nil while the knob refuse is on
	closed  bool
}

// NewServer binds both addresses, so Addr and ControlAddr are true from here on. Run must follow:
// it closes them.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Engine == nil {
		return nil, fmt.Errorf("new mock server: %w", dynmesh.NewConfigError("mocker", "Engine", nil, "an engine"))
	}
	s := &Server{engine: cfg.Engine, log: logging.OrDiscard(cfg.Log)}
	var err error
	if s.pending, err = net.Listen("tcp", cmp.Or(cfg.Addr, DefaultAddr)); err != nil {
		return nil, fmt.Errorf("new mock server: %w", &dynmesh.ConfigError{Config: "mocker", Field: "Addr", Err: err})
	}
	if s.control, err = net.Listen("tcp", cmp.Or(cfg.ControlAddr, DefaultAddr)); err != nil {
		_ = s.pending.Close()
		return nil, fmt.Errorf("new mock server: %w", &dynmesh.ConfigError{Config: "mocker", Field: "ControlAddr", Err: err})
	}
	s.addr = s.pending.Addr().String()
	return s, nil
}

// Addr is the engine's host:port. It stays the same when the engine refuses and comes back.
func (s *Server) Addr() string { return s.addr }

// ControlAddr is the host:port of /mock/knobs.
func (s *Server) ControlAddr() string { return s.control.Addr().String() }

// Run serves until ctx ends, then cuts what is under way, as an engine that is killed does, and
// waits for all of it. It must be called once.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.ctx != nil {
		s.mu.Unlock()
		return errors.New("run mock server: it ran already")
	}
	s.ctx = ctx
	s.mu.Unlock()

	control := newListenerServer(ctx, s.control, s.controlRoutes(), s.log)
	for {
		_, changed := s.engine.knobStore.get()
		err := s.applyRefuse()
		var retry <-chan time.Time
		if err != nil {
			s.log.WithField("err", err).WithField("addr", s.addr).Debug("Mock engine cannot listen yet")
			retry = time.After(relisten)
		}
		select {
		case <-changed:
			continue
		case <-retry:
			continue
		case <-ctx.Done():
		}
		break
	}
	s.mu.Lock()
	s.closed = true
	s.stop()
	s.mu.Unlock()
	control.stop()
	return nil
}

// applyRefuse makes the engine's listener what the knob refuse says. It returns once that is done:
// a client that comes later is served or refused.
func (s *Server) applyRefuse() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if k, _ := s.engine.knobStore.get(); k.Refuse {
		s.stop()
		return nil
	}
	if s.serving != nil {
		return nil
	}
	if s.pending == nil {
		ln, err := net.Listen("tcp", s.addr)
		if err != nil {
			return err
		}
		s.pending = ln
	}
	s.serving = newListenerServer(s.ctx, s.pending, s.engineRoutes(), s.log)
	s.pending = nil
	return nil
}

func (s *Server) stop() {
	if s.pending != nil {
		_ = s.pending.Close() // a listener that was never served; nothing to lose
		s.pending = nil
	}
	if s.serving != nil {
		s.serving.stop()
		s.serving = nil
	}
}

// listenerServer is one listener being served. An http.Server cannot be started again, so each
// return from refusing makes a new one.
type listenerServer struct {
	server *http.Server
	cut    context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	handlers sync.WaitGroup
	closed   bool // no handler begins any more
}

func newListenerServer(ctx context.Context, ln net.Listener, routes http.Handler, log *logrus.Entry) *listenerServer {
	ctx, cut := context.WithCancel(ctx)
	f := &listenerServer{cut: cut, done: make(chan struct{})}
	f.server = &http.Server{
		ErrorLog:          stdlog.New(debugWriter{log}, "", 0),
		Handler:           f.count(routes),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	go func() {
		defer close(f.done)
		if err := f.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.WithField("err", err).WithField("addr", ln.Addr().String()).Error("Mock engine stopped listening")
		}
	}()
	return f
}

// count lets stop wait for the handlers: http.Server.Close does not.
func (f *listenerServer) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		if f.closed {
			f.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		f.handlers.Add(1)
		f.mu.Unlock()
		defer f.handlers.Done()
		next.ServeHTTP(w, r)
	})
}

// stop closes the listener and every connection, and waits for the requests on them.
func (f *listenerServer) stop() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.cut()
	_ = f.server.Close() // its error is the listener's, which is gone either way
	<-f.done
	f.handlers.Wait()
}

// debugWriter takes net/http's complaints, which are about clients, into the log.
type debugWriter struct{ log *logrus.Entry }

func (w debugWriter) Write(line []byte) (int, error) {
	w.log.Debug(strings.TrimSpace(string(line)))
	return len(line), nil
}
