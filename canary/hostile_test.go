package canary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/schedule"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

const (
	sseHead   = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	linesHead = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"
	token     = "data: {\"choices\":[{\"text\":\"a\"}]}\n\n"
)

func TestHostileEngines(t *testing.T) {
	say := func(texts ...string) func(*net.TCPConn, string) {
		return func(conn *net.TCPConn, _ string) { _, _ = io.WriteString(conn, strings.Join(texts, "")) }
	}
	flood := func(head, text string) func(*net.TCPConn, string) {
		return func(conn *net.TCPConn, _ string) {
			_, _ = io.WriteString(conn, head)
			_, _ = io.Copy(conn, testkit.Endless(text)) // until the client has had enough
		}
	}
	for _, tt := range []struct {
		name  string
		serve func(*net.TCPConn, string)
		want  dynmesh.Reason
	}{
		{"nothing, and closed", say(), dynmesh.ReasonCut},
		{"nothing, and open", func(conn *net.TCPConn, _ string) { testkit.UntilGone(conn) }, dynmesh.ReasonTimeout},
		{"garbage", say("\x00\xff\x13 garbage\r\n\r\n"), dynmesh.ReasonMalformed},
		{"garbage without end", flood("", "\x00\xff\x13"), dynmesh.ReasonOversized},
		{"headers without end", flood("HTTP/1.1 200 OK\r\n", "X-A: b\r\n"), dynmesh.ReasonOversized},
		{"a header's name without end", flood("HTTP/1.1 200 OK\r\n", "x"), dynmesh.ReasonOversized},
		{"a chunk of 100 MB", flood(sseHead+"data: ", "x"), dynmesh.ReasonOversized},
		{"events without end", flood(sseHead, token), dynmesh.ReasonOversized},
		{"comments without end", flood(sseHead, ": ping\n\n"), dynmesh.ReasonOversized},
		{"lines without end", flood(linesHead, "{\"a\":1}\n"), dynmesh.ReasonOversized},
		{"a document without end", flood("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", "[1,"), dynmesh.ReasonOversized},
		{"an error page without end", flood("HTTP/1.1 502 Bad Gateway\r\n\r\n", "<br>"), dynmesh.ReasonStatus},
		{"garbage where events are wanted", say(sseHead, "<html>what?</html>\n\n"), dynmesh.ReasonMalformed},
		{"fields that the standard does not know", say(sseHead, "trace: 1\ndebug\n", token, "trace: 2\n\ndata: [DONE]\n\n"), ""},
		{"half of JSON", say(sseHead, "data: {\"choices\":[\n\n"), dynmesh.ReasonMalformed},
		{"a web page", say("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>"), dynmesh.ReasonMalformed},
		{"a redirect", say("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), dynmesh.ReasonStatus},
		{"closed in the middle", say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", "23\r\ndata: {\"choices"), dynmesh.ReasonCut},
		{"broken chunked coding", say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", "zz\r\n"), dynmesh.ReasonMalformed},
		{"shorter than it said", say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n", token), dynmesh.ReasonCut},
		{"ended without [DONE]", say(sseHead, token), dynmesh.ReasonCut},
		{"half closed after a token", func(conn *net.TCPConn, _ string) {
			_, _ = io.WriteString(conn, sseHead+token)
			_ = conn.CloseWrite()
			testkit.UntilGone(conn)
		}, dynmesh.ReasonCut},
		{"reset after a token", func(conn *net.TCPConn, _ string) {
			_, _ = io.WriteString(conn, sseHead+token)
			_ = conn.SetLinger(0)
		}, dynmesh.ReasonCut},
		{"[DONE], and open", func(conn *net.TCPConn, _ string) {
			_, _ = io.WriteString(conn, sseHead+token+"data: [DONE]\n\n")
			testkit.UntilGone(conn)
		}, ""},
		{"frozen after a token", func(conn *net.TCPConn, _ string) {
			_, _ = io.WriteString(conn, sseHead+token)
			testkit.UntilGone(conn)
		}, dynmesh.ReasonFrozen},
		{"a status, and open", func(conn *net.TCPConn, _ string) {
			_, _ = io.WriteString(conn, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 9\r\n\r\n")
			testkit.UntilGone(conn)
		}, dynmesh.ReasonStatus},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			probe := mockProbe(t, testkit.RawServer(t, tt.serve))
			timeout := patience
			if schedule.IsLate(tt.want) || tt.name == "a status, and open" {
				timeout = 300 * time.Millisecond
			}
			r := ask(t, probe, timeout)
			if got := reason(r); got != tt.want {
				t.Errorf("got %v, want %q", r.Failure, tt.want)
			}
		})
	}
}

// TestMemoryIsBounded: what a canary allocates has nothing to do with what an engine sends.
func TestMemoryIsBounded(t *testing.T) {
	for name, head := range map[string]string{"body": sseHead + "data: ", "head": "HTTP/1.1 200 OK\r\nX-A: "} {
		probe := mockProbe(t, testkit.RawServer(t, func(conn *net.TCPConn, _ string) {
			_, _ = io.WriteString(conn, head)
			_, _ = io.Copy(conn, io.LimitReader(testkit.Endless("x"), 100<<20))
		}))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if r := ask(t, probe, patience); reason(r) != dynmesh.ReasonOversized {
			t.Fatalf("%s: got %v, want %v", name, r.Failure, dynmesh.ReasonOversized)
		}
		runtime.ReadMemStats(&after)
		if got, want := after.TotalAlloc-before.TotalAlloc, uint64(8<<20); got > want {
			t.Errorf("%s: allocated %d bytes for 100 MB, want at most %d", name, got, want)
		}
	}
}

// TestConnectionsEndWithTheirCanary: whatever comes of a canary, the engine sees its connection
// closed.
func TestConnectionsEndWithTheirCanary(t *testing.T) {
	var failing atomic.Bool
	var opened, closed atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if failing.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, token+"data: [DONE]\n\n")
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			opened.Add(1)
		case http.StateClosed:
			closed.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	probe := mockProbe(t, server.URL)
	for range 3 {
		if r := ask(t, probe, patience); r.Failure != nil {
			t.Errorf("got %v, want a pass", r.Failure)
		}
	}
	failing.Store(true)
	if r := ask(t, probe, patience); reason(r) != dynmesh.ReasonStatus {
		t.Errorf("got %v, want %v", r.Failure, dynmesh.ReasonStatus)
	}
	testkit.Eventually(t, patience, "all four connections are closed", func() bool { return opened.Load() == 4 && closed.Load() == 4 })
}

func TestUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	r := ask(t, mockProbe(t, "http://"+ln.Addr().String()), patience)
	if reason(r) != dynmesh.ReasonRefused || r.Failure.Detail != "connection refused" {
		t.Errorf("closed: got %v, want refused: connection refused", r.Failure)
	}
	if r := ask(t, mockProbe(t, "http://127.0.0.1:99999"), patience); reason(r) != dynmesh.ReasonUnreachable {
		t.Errorf("no such port: got %v, want %v", r.Failure, dynmesh.ReasonUnreachable)
	}
}

func TestHTTPRefusesURLs(t *testing.T) {
	for _, url := range []string{"ftp://u:s3cret@x", "http://u:s3cret@a b/", "", "localhost:8000", "ftp://x/", "http://", "http://a b/"} {
		if _, err := HTTP(HTTPConfig{URL: url}); err == nil || !strings.Contains(err.Error(), "URL") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("URL %q: got %v, want an error that names URL", url, err)
		}
	}
}

type statusError int

func (e statusError) Error() string   { return fmt.Sprint("status ", int(e)) }
func (e statusError) StatusCode() int { return int(e) }

func TestHandlerVerdicts(t *testing.T) {
	type handler = func(context.Context, json.RawMessage, func(any) error) error
	send := func(chunks ...any) handler {
		return func(_ context.Context, _ json.RawMessage, send func(any) error) error {
			for _, c := range chunks {
				if err := send(c); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for _, tt := range []struct {
		name    string
		handler handler
		want    dynmesh.Reason
	}{
		{"text", send("hello"), ""},
		{"an object", send(map[string]int{"n": 1}), ""},
		{"nothing", send(), dynmesh.ReasonEmpty},
		{"an error in between", send("a", map[string]string{"error": "no"}, "b"), dynmesh.ReasonErrorChunk},
		{"not JSON", send(func() {}), dynmesh.ReasonMalformed},
		{"too large a chunk", send(strings.Repeat("x", 2<<20)), dynmesh.ReasonOversized},
		{"too many chunks", func(_ context.Context, _ json.RawMessage, send func(any) error) error {
			for {
				if err := send(strings.Repeat("x", 1<<19)); err != nil {
					return err
				}
			}
		}, dynmesh.ReasonOversized},
		{"an error", func(context.Context, json.RawMessage, func(any) error) error { return errors.New("no") }, dynmesh.ReasonError},
		{"an error with a status", func(context.Context, json.RawMessage, func(any) error) error { return statusError(503) }, dynmesh.ReasonStatus},
		{"a panic", func(context.Context, json.RawMessage, func(any) error) error { panic("no\nno") }, dynmesh.ReasonPanic},
		{"an error chunk that the handler ignores", func(_ context.Context, _ json.RawMessage, send func(any) error) error {
			_ = send(map[string]string{"error": "no"})
			return nil
		}, dynmesh.ReasonErrorChunk},
		{"a backend that is gone", func(ctx context.Context, _ json.RawMessage, _ func(any) error) error {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:1")
			if err == nil {
				conn.Close()
			}
			return err
		}, dynmesh.ReasonRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r := ask(t, Handler(tt.handler, nil), patience); reason(r) != tt.want {
				t.Errorf("got %v, want %q", r.Failure, tt.want)
			}
		})
	}
}

func TestHandlerGetsItsOwnRequest(t *testing.T) {
	want := json.RawMessage(`{"a":1}`)
	probe := Handler(func(_ context.Context, request json.RawMessage, send func(any) error) error {
		if !bytes.Equal(request, []byte(`{"a":1}`)) {
			return fmt.Errorf("got %s", request)
		}
		request[1] = 'X'
		return send("ok")
	}, want)
	for range 2 {
		if r := ask(t, probe, patience); r.Failure != nil {
			t.Errorf("got %v, want a pass", r.Failure)
		}
	}
}

// A probe of one's own need not know of Failure.
func TestCheckExplainsAnyError(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	deadline, end := context.WithCancelCause(context.Background())
	end(context.DeadlineExceeded)
	for _, tt := range []struct {
		name string
		ctx  context.Context
		err  error
		want dynmesh.Reason
	}{
		{"an error", context.Background(), errors.New("no"), dynmesh.ReasonError},
		{"a failure, wrapped", context.Background(), fmt.Errorf("x: %w", &dynmesh.Failure{Reason: dynmesh.ReasonEmpty}), dynmesh.ReasonEmpty},
		{"canceled", canceled, context.Canceled, dynmesh.ReasonCanceled},
		{"a deadline that a monitor sets", deadline, context.Canceled, dynmesh.ReasonTimeout},
		{"a deadline of its own", context.Background(), context.DeadlineExceeded, dynmesh.ReasonTimeout},
	} {
		r := Check(tt.ctx, func(context.Context) error { return tt.err })
		if reason(r) != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, r.Failure, tt.want)
		}
	}
}
