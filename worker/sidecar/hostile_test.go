package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestHostileEngines(t *testing.T) {
	say := func(texts ...string) func(*net.TCPConn, string) {
		return func(conn *net.TCPConn, _ string) { _, _ = io.WriteString(conn, strings.Join(texts, "")) }
	}
	sayOpen := func(texts ...string) func(*net.TCPConn, string) {
		return func(conn *net.TCPConn, _ string) {
			_, _ = io.WriteString(conn, strings.Join(texts, ""))
			testkit.UntilGone(conn)
		}
	}
	flood := func(head, text string) func(*net.TCPConn, string) {
		return func(conn *net.TCPConn, _ string) {
			_, _ = io.WriteString(conn, head)
			_, _ = io.Copy(conn, testkit.Endless(text)) // until the client has had enough
		}
	}
	const (
		chunkedHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
		done        = "data: [DONE]\n\n"
	)
	for _, tt := range []struct {
		name   string
		serve  func(*net.TCPConn, string)
		chunks int
		status int
		text   string
	}{
		{"nothing, and closed", say(), 0, 502, "broke off"},
		{"not HTTP", say("\x00\xff\x13 SSH-2.0\r\n\r\n"), 0, 502, "malformed"},
		{"garbage without end", flood("", "\x00\xff\x13"), 0, 502, "exceeded"},
		{"headers without end", flood("HTTP/1.1 200 OK\r\n", "X-A: b\r\n"), 0, 502, "exceeded"},
		{"a line without end", flood(sseHead+"data: ", "x"), 0, 502, "more than 16777216 bytes"},
		{"an event without end", flood(sseHead, "data: "+strings.Repeat("x", 1000)+"\n"), 0, 502, "more than 16777216 bytes"},
		{"a document without end", flood(docHead, "[1,"), 0, 502, "more than 16777216 bytes"},
		{"a document that says it is too large", sayOpen("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"), 0, 502, "99999999 bytes"},
		{"an error without end", flood("HTTP/1.1 502 Bad Gateway\r\n\r\n", "<br>"), 0, 502, "status 502: <br>"},
		{"a web page for a stream", say(sseHead, "<html>what?</html>\n\n"), 0, 502, "not an event stream"},
		{"a web page", say("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>"), 0, 502, "not JSON: <html>"},
		{"half of JSON", say(sseHead, token, "data: {\"choices\":[\n\n"), 1, 502, "not JSON"},
		{"an empty document", say(docHead), 0, 502, "not JSON"},
		{"two documents", say(docHead, "{} {}"), 0, 502, "not JSON"},
		{"a redirect", say("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), 0, 502, "status 302"},
		{"closed in the middle", say(chunkedHead, "5\r\ndata:"), 0, 502, "unexpected EOF"},
		{"broken chunked coding", say(chunkedHead, "zz\r\n"), 0, 502, "invalid byte"},
		{"shorter than it said", say("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{}"), 0, 502, "unexpected EOF"},
		{"ended without [DONE]", say(sseHead, token), 1, 502, "ended without [DONE]"},
		{"half closed after a token", func(conn *net.TCPConn, _ string) {
			_, _ = io.WriteString(conn, sseHead+token)
			_ = conn.CloseWrite()
			testkit.UntilGone(conn)
		}, 1, 502, "ended without [DONE]"},
		{"reset after a token", func(conn *net.TCPConn, _ string) {
			_, _ = io.WriteString(conn, chunkedHead)
			_ = conn.SetLinger(0)
		}, 0, 502, ""},
		{"an error that is named", say(sseHead, "event: error\ndata: {\"message\":\"no\"}\n\n", done), 1, 502, `{"message":"no"}`},
		{"a finish reason that is an error", say(sseHead, "data: {\"choices\":[{\"finish_reason\":\"abort\"}]}\n\n", done), 1, 502, "abort"},
		{"a document that is an error", say(docHead, `{"error":{"message":"no"}}`), 1, 502, "error in the answer: no"},
		{"a status, and open", sayOpen("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 9\r\n\r\noh"), 0, 500, "status 500: oh"},
		{"[DONE], and open", sayOpen(sseHead, token, done), 1, 0, ""},
		{"[DONE], and more without end", flood(sseHead+token+done, token), 1, 0, ""},
		{"fields that the standard does not know", say(sseHead, "trace: 1\ndebug\n", token, "trace: 2\n\n", done), 1, 0, ""},
		{"pings, then a token", say(sseHead, ": ping\n\n: ping\n\n\n\n", token, done), 1, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSidecar(t, Config{Backend: testkit.RawServer(t, tt.serve)})
			chunks, err := generate(t, s, streamed)
			if errors.Is(err, context.DeadlineExceeded) || (err != nil) != (tt.status != 0) {
				t.Fatalf("got %v, want status %d before the client loses its patience", err, tt.status)
			}
			if len(chunks) != tt.chunks || status(err) != tt.status || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %d chunks and %v (%d), want %d and %q (%d)", len(chunks), err, status(err), tt.chunks, tt.text, tt.status)
			}
		})
	}
}

// Triton's streams just end.
func TestStreamWithoutDone(t *testing.T) {
	url := testkit.RawServer(t, func(conn *net.TCPConn, request string) {
		if !strings.HasPrefix(request, "POST /v2/models/m/generate_stream ") {
			_, _ = io.WriteString(conn, "HTTP/1.1 404 Not Found\r\n\r\n")
			return
		}
		_, _ = io.WriteString(conn, sseHead+"data: {\"text_output\":\"a\"}\n\n")
	})
	s := newSidecar(t, Config{Backend: url, Engine: "triton", Model: "m"})
	if chunks, err := generate(t, s, `{"text_input":"x"}`); err != nil || len(chunks) != 1 {
		t.Errorf("got %d chunks, %v, want one", len(chunks), err)
	}
}

// An engine that hangs costs what its client's patience costs, and leaves nothing behind (TestMain
// looks).
func TestHangingEngines(t *testing.T) {
	for name, head := range map[string]string{
		"before the status": "", "in the header": "HTTP/1.1 200 OK\r\nContent-", "before the body": sseHead,
		"in an event": sseHead + "data: {", "in a document": docHead + "{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			left := make(chan struct{})
			s := newSidecar(t, Config{Backend: testkit.RawServer(t, func(conn *net.TCPConn, _ string) {
				_, _ = io.WriteString(conn, head)
				testkit.UntilGone(conn)
				close(left)
			})})
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			err := s.Generate(ctx, json.RawMessage(streamed), func(any) error { return nil })
			if err == nil || status(err) != 0 {
				t.Errorf("got %v, want the end of the context", err)
			}
			select {
			case <-left:
			case <-time.After(patience):
				t.Error("the connection to the engine is still open")
			}
		})
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s := newSidecar(t, Config{Backend: testkit.RawServer(t, func(conn *net.TCPConn, _ string) {
		_, _ = io.WriteString(conn, sseHead+"data: ")
		_, _ = io.Copy(conn, io.LimitReader(testkit.Endless("x"), 500<<20))
	})})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := generate(t, s, streamed); status(err) != 502 {
		t.Fatalf("got %v, want an error", err)
	}
	runtime.ReadMemStats(&after)
	if got, want := after.TotalAlloc-before.TotalAlloc, uint64(8*maxEvent); got > want {
		t.Errorf("allocated %d bytes for an event of 500 MB, want at most %d", got, want)
	}
}
