package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/proxy"
)

// fronted runs a worker before an engine that serves bytes.
func fronted(t *testing.T, grace time.Duration, serve func(*net.TCPConn, string)) (w *Worker, stop func()) {
	t.Helper()
	p, err := proxy.New(proxy.Config{Backend: testkit.RawServer(t, serve)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	cfg := local()
	cfg.GracefulShutdownTimeout = grace
	if w, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"generate", "embed"} {
		if err := w.Front(name, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Handle("other", func(context.Context, json.RawMessage, func(any) error) error { return nil }); err == nil {
		t.Error("a worker with a backend takes a handler")
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return w, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func dialFront(t *testing.T, w *Worker, request string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", w.RPCAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(waitLimit))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// TestFront: every path is the engine's, all endpoints see its requests, and a shutdown lets an
// answer finish, refuses more, and ends what does not end by itself, upgrades included.
func TestFront(t *testing.T) {
	goOn := make(chan struct{})
	w, stop := fronted(t, 10*time.Second, func(conn *net.TCPConn, request string) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{")
		if strings.HasPrefix(request, "POST ") {
			<-goOn
		}
		_, _ = io.WriteString(conn, "}")
	})
	_, answer := dialFront(t, w, "PUT /v1/rpc/generate?a;b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
	if resp, err := http.ReadResponse(answer, nil); err != nil || resp.StatusCode != http.StatusOK { //nolint:bodyclose // its connection is closed
		t.Errorf("got %v, %v", resp, err)
	}
	_, idleAnswer := dialFront(t, w, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if resp, err := http.ReadResponse(idleAnswer, nil); err != nil || resp.StatusCode != http.StatusOK { //nolint:bodyclose // its connection is closed
		t.Errorf("got %v, %v", resp, err)
	}
	_, busy := dialFront(t, w, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
	for _, endpoint := range []string{"generate", "embed"} {
		testkit.Eventually(t, waitLimit, endpoint+" sees the request", func() bool {
			a, ok := w.Activity(endpoint)
			return ok && a.InFlight == 1
		})
	}
	ended := make(chan struct{})
	go func() { defer close(ended); stop() }()
	testkit.Eventually(t, waitLimit, "it shuts down", w.rpc.ln.draining)
	close(goOn)
	resp, err := http.ReadResponse(busy, nil) //nolint:bodyclose // its connection is closed
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "{}" {
		t.Errorf("got %q (%v), want an answer that was under way to finish", text, err)
	}
	<-ended
	if a, _ := w.Activity("generate"); a.Completed != 1 || a.InFlight != 0 || a == (canary.Activity{}) {
		t.Errorf("activity %+v", a)
	}
}

// TestFrontEndsUpgrades: what never ends by itself holds a shutdown no longer than its time.
func TestFrontEndsUpgrades(t *testing.T) {
	w, stop := fronted(t, 50*time.Millisecond, func(conn *net.TCPConn, _ string) {
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		testkit.UntilGone(conn)
	})
	conn, answer := dialFront(t, w, "GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if resp, err := http.ReadResponse(answer, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols { //nolint:bodyclose // its connection is closed
		t.Fatalf("got %v, %v", resp, err)
	}
	pace, begun := testkit.Paced(t), time.Now()
	stop()
	if took := pace.Since(begun); took > waitLimit/2 {
		t.Errorf("the shutdown took %v", took)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
}

// TestFrontRefusesWhatItGivesUp: a request that the engine has not begun to answer by the end of a
// shutdown is refused in words, so that its client sends it elsewhere; one that it has breaks off.
func TestFrontRefusesWhatItGivesUp(t *testing.T) {
	w, stop := fronted(t, 50*time.Millisecond, func(conn *net.TCPConn, request string) {
		if strings.HasPrefix(request, "POST /v1/chat/") {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{")
		}
		testkit.UntilGone(conn)
	})
	_, begun := dialFront(t, w, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
	half, err := http.ReadResponse(begun, nil) //nolint:bodyclose // its connection is closed
	if err != nil {
		t.Fatal(err)
	}
	_, waiting := dialFront(t, w, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
	testkit.Eventually(t, waitLimit, "both are under way", func() bool {
		a, ok := w.Activity("generate")
		return ok && a.InFlight == 2
	})
	stop()
	resp, err := http.ReadResponse(waiting, nil) //nolint:bodyclose // its connection is closed
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable || !resp.Close || !strings.Contains(string(text), "the worker is shutting down") {
		t.Errorf("got %d %q (%v), closes %v; want 503 and that it shuts down, on a connection that closes", resp.StatusCode, text, err, resp.Close)
	}
	if text, err := io.ReadAll(half.Body); err == nil {
		t.Errorf("got %q, want an answer that breaks off", text)
	}
	if a, _ := w.Activity("generate"); a.Errors != 0 || a.InFlight != 0 {
		t.Errorf("activity %+v: want no error of the engine's", a)
	}
}
