package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/traffic"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// net/http's server lingers half a second on a connection whose request it did not read to
		// the end.
		goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"),
	)
}

const patience = 10 * time.Second // for what takes milliseconds on an idle machine

// stand is a proxy behind a real server.
type stand struct {
	*Proxy
	addr string

	mu       sync.Mutex
	failures []dynmesh.Failure
}

// clientConn is what a worker's listener makes of connections.
type clientConn struct{ *net.TCPConn }

func (clientConn) Count(*traffic.Request) {}

type clientListener struct{ net.Listener }

func (l clientListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return clientConn{c.(*net.TCPConn)}, nil
}

// before puts a proxy before backend until the end of the test.
func before(t testing.TB, backend string, change ...func(*Config)) *stand {
	t.Helper()
	s := &stand{}
	cfg := Config{Backend: backend, OnFailure: func(f *dynmesh.Failure) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failures = append(s.failures, *f)
	}}
	for _, f := range change {
		f(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Proxy = p
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	server := &http.Server{Handler: p, DisableGeneralOptionsHandler: true, ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		return traffic.WithClient(ctx, c.(traffic.Client))
	}}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(clientListener{ln}) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
		testkit.Eventually(t, patience, "no request is left", func() bool { return p.Activity().InFlight == 0 })
		p.Close()
	})
	return s
}

func (s *stand) url(path string) string { return "http://" + s.addr + path }

// activity leaves out what package traffic tests.
func (s *stand) activity() canary.Activity {
	a := s.Activity()
	a.ErrorsInRow, a.LargestAnswered, a.LargestWaiting = 0, 0, 0
	return a
}

// becomes waits for the counts.
func (s *stand) becomes(t testing.TB, want canary.Activity) {
	t.Helper()
	var got canary.Activity
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if got = s.activity(); got == want {
			return
		}
	}
	t.Errorf("activity: got %+v, want %+v", got, want)
}

func (s *stand) reasons() (all []dynmesh.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.failures {
		all = append(all, f.Reason)
	}
	return all
}

// engineOf is an engine until the end of the test.
func engineOf(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

// exchangeRaw sends bytes over a connection of its own and returns all that comes until it ends.
func exchangeRaw(t testing.TB, addr, request string) string {
	t.Helper()
	conn := dialRaw(t, addr)
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

func dialRaw(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// client makes connections of its own, and never asks twice.
func newClient(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

const (
	chat    = "/v1/chat/completions"
	sseHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	token   = `data: {"choices":[{"delta":{"content":"a"}}]}` + "\n\n"
	stop    = `data: {"choices":[{"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	done    = "data: [DONE]\n\n"
)

func chunked(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

// readHead reads a request's or an answer's head, from a connection that may hold more.
func readHead(r *bufio.Reader) string {
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			return head.String()
		}
	}
}
