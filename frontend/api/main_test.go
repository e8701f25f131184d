package api

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// After a shutdown fasthttp's pool cleaner sleeps out its 10 s before it looks whether it
		// is to end.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		// fasthttp's clock for Date headers has no end.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
	)
}

// patience bounds every wait for a condition. It is long because the race detector on a busy
// machine is slow.
const patience = 20 * time.Second

// known is a fleet and what is rendered of it. What it is told is rendered and published before the
// call returns.
type known struct {
	mu      sync.Mutex
	fleet   *fleet.Fleet
	builder *snapshot.Builder
	publish func(*snapshot.Snapshot)
}

func newKnown(gossip bool, expectations []expect.Expectation) *known {
	now := time.Now()
	f := fleet.New(fleet.Config{Gossip: gossip, Self: dynmesh.Observer{ID: 0xfe, Epoch: 1}, Expect: expectations}, now)
	return &known{fleet: f, builder: snapshot.NewBuilder(f, expectations, snapshot.Outputs{}, nil, now), publish: func(*snapshot.Snapshot) {}}
}

// discover takes in what the registry says.
func (k *known) discover(u dynmesh.RegistryUpdate) { k.take(func() { k.fleet.Discover(u) }) }

// gossip takes in what gossip says.
func (k *known) gossip(u dynmesh.GossipUpdate) { k.take(func() { k.fleet.Gossip(u) }) }

func (k *known) take(in func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	in()
	k.builder.Register(k.fleet.Registrations())
	if s := k.builder.Next(k.fleet.Reconcile(time.Now()), time.Now()); s != nil {
		k.publish(s)
	}
}

// running is a server under test.
type running struct {
	*Server
	*known
	t      testing.TB
	client *http.Client
	stop   context.CancelFunc
	done   chan error // Run's result, buffered
}

// start runs a server on loopback until the test ends or calls stop. What is expected may be nil,
// and so may tune, which sets what no setting does.
func start(t testing.TB, cfg Config, expectations []expect.Expectation, tune func(*Server)) *running {
	t.Helper()
	return startWith(t, cfg, newKnown(false, expectations), tune)
}

func startWith(t testing.TB, cfg Config, k *known, tune func(*Server)) *running {
	t.Helper()
	cfg.Host = cmp.Or(cfg.Host, "127.0.0.1")
	if cfg.GracefulShutdownTimeout == 0 {
		cfg.GracefulShutdownTimeout = 50 * time.Millisecond
	}
	cfg.Log = testkit.Quiet()
	s, err := New(cfg, k.builder.Snapshot(), k.builder.Epoch())
	if err != nil {
		t.Fatal(err)
	}
	k.publish = s.Publish
	if tune != nil {
		tune(s)
	}
	if _, measured := t.(*testing.B); !measured {
		s.connections.Listener = smallBuffers{s.connections.Listener}
	}
	ctx, stop := context.WithCancel(context.Background())
	transport := &http.Transport{DisableCompression: true}
	r := &running{Server: s, known: k, t: t, client: &http.Client{Transport: transport, Timeout: patience}, stop: stop, done: make(chan error, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.done <- s.Run(ctx)
	}()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		<-ended
	})
	return r
}

// setWriteTimeout bounds how long an answer or an event may take.
func (s *Server) setWriteTimeout(d time.Duration) {
	s.app.Server().WriteTimeout, s.events.writeTimeout = d, d
}

// smallBuffers keeps the kernel from taking megabytes for a client that does not read: a slow
// client is slow at once.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	below := c
	if secure, ok := c.(*tls.Conn); ok {
		below = secure.NetConn()
	}
	if err == nil {
		err = below.(*net.TCPConn).SetWriteBuffer(64 << 10)
	}
	return c, err
}

type answer struct {
	code   int
	header http.Header
	body   string
	closes bool // with Connection: close
}

// try requests path, with headers given as name, value, name, value…
func (r *running) try(method, path string, headers ...string) (answer, error) {
	req, err := http.NewRequest(method, "http://"+r.Addr()+path, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := r.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b), res.Close}, err
}

func (r *running) get(path string, headers ...string) answer {
	r.t.Helper()
	a, err := r.try(http.MethodGet, path, headers...)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	testkit.Eventually(t, patience, what, ok)
}

// waitGzip waits until /health has its compressed form.
func (r *running) waitGzip() {
	r.t.Helper()
	eventually(r.t, "the gzip form", func() bool { return r.newest.Load().Health.Gzip() != nil })
}

// content returns the whole of an answer.
func content(r *snapshot.Representation) string { return string(r.Bytes()) }

func raw(s string) json.RawMessage { return json.RawMessage(s) }
