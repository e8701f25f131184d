package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// TestRequestsAsTheyCame: what reaches the engine, to the letter.
func TestRequestsAsTheyCame(t *testing.T) {
	var mu sync.Mutex
	var head string
	backend := testkit.RawServer(t, func(conn *net.TCPConn, request string) {
		mu.Lock()
		defer mu.Unlock()
		head = request
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	})
	host := strings.TrimPrefix(backend, "http://")
	for _, tt := range []struct {
		name, base, key, request string
		want, not                []string // lines
	}{
		{"a query that Go does not like", "", "", "GET /a?x;y=%zz&a=b;c HTTP/1.1\r\n", []string{"GET /a?x;y=%zz&a=b;c HTTP/1.1"}, nil},
		{"an empty query", "", "", "GET /a? HTTP/1.1\r\n", []string{"GET /a? HTTP/1.1"}, nil},
		{"escapes", "", "", "GET /a%2Fb%20c/%e4%41 HTTP/1.1\r\n", []string{"GET /a%2Fb%20c/%e4%41 HTTP/1.1"}, nil},
		{"what should be escaped", "", "", "GET /a|b\"{c}^` HTTP/1.1\r\n", []string{"GET /a|b\"{c}^` HTTP/1.1"}, nil},
		{"double slashes", "", "", "GET //a//b/../c/. HTTP/1.1\r\n", []string{"GET //a//b/../c/. HTTP/1.1"}, nil},
		{"any method", "", "", "PURGE /v1 HTTP/1.1\r\n", []string{"PURGE /v1 HTTP/1.1"}, nil},
		{"the server itself", "", "", "OPTIONS * HTTP/1.1\r\n", []string{"OPTIONS * HTTP/1.1"}, nil},
		{"a base path", "/p%2Fq/", "", "GET /v1/a%20b?c HTTP/1.1\r\n", []string{"GET /p%2Fq/v1/a%20b?c HTTP/1.1"}, nil},
		{"a base URL of clients", "/v1", "", "GET /v1/models HTTP/1.1\r\n", []string{"GET /v1/models HTTP/1.1"}, nil},
		{"the engine's own host", "", "", "GET / HTTP/1.1\r\n", []string{"Host: " + host, "X-Forwarded-Host: here"}, []string{"Host: here"}},
		{"what is not hop by hop", "", "", "GET / HTTP/1.1\r\nX-A: 1\r\nX-A: 2\r\nConnection: X-B\r\nX-B: 1\r\nTraceparent: 00-1\r\nAccept-Encoding: br\r\n",
			[]string{"X-A: 1", "X-A: 2", "Traceparent: 00-1", "Accept-Encoding: br"}, []string{"X-B: 1", "User-Agent:", "Accept-Encoding: gzip"}},
		{"nothing is asked for on its own", "", "", "GET / HTTP/1.1\r\n", nil, []string{"Accept-Encoding:", "User-Agent:"}},
		{"who asks", "", "", "GET / HTTP/1.1\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nForwarded: for=x\r\n",
			[]string{"X-Forwarded-For: 10.0.0.1, 127.0.0.1", "X-Forwarded-Proto: https", "Forwarded: for=x"}, nil},
		{"the key, where there is none", "", "k", "GET / HTTP/1.1\r\n", []string{"Authorization: Bearer k"}, nil},
		{"the client's key", "", "k", "GET / HTTP/1.1\r\nAuthorization: Bearer own\r\n", []string{"Authorization: Bearer own"}, []string{"Authorization: Bearer k"}},
		{"the client's key, in Anthropic's header", "", "k", "GET / HTTP/1.1\r\nx-api-key: own\r\n", []string{"X-Api-Key: own"}, []string{"Authorization: Bearer k"}},
	} {
		s := before(t, backend+tt.base, func(c *Config) { c.APIKey = tt.key })
		answer := exchangeRaw(t, s.addr, tt.request+"Host: here\r\nConnection: close\r\n\r\n")
		mu.Lock()
		lines := strings.Split(head, "\r\n")
		mu.Unlock()
		if !strings.HasPrefix(answer, "HTTP/1.1 204 ") {
			t.Errorf("%s: got %q", tt.name, answer)
		}
		for _, want := range tt.want {
			if !slices.Contains(lines, want) {
				t.Errorf("%s: the engine got %q, want %q", tt.name, lines, want)
			}
		}
		for _, not := range tt.not {
			if slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, not) }) {
				t.Errorf("%s: the engine got %q, want no %q", tt.name, lines, not)
			}
		}
	}
}

// TestAnswersAsTheyCame: what reaches the client.
func TestAnswersAsTheyCame(t *testing.T) {
	for _, tt := range []struct{ name, answer, want string }{
		{"an error", "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nX-Request-Id: 7\r\nDate: D\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"error\":\"full\"}",
			"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 16\r\nContent-Type: application/json\r\nDate: D\r\nRetry-After: 3\r\nX-Request-Id: 7\r\nConnection: close\r\n\r\n{\"error\":\"full\"}"},
		{"no type, no date", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"},
		{"packed bytes", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x00\x01", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\nConnection: close\r\n\r\n\x1f\x8b\x00\x01"},
		{"hints before the answer", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
			"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\na"},
		{"trailers", "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n"},
		{"a redirect", "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nLocation: http://elsewhere/\r\nConnection: close\r\n\r\n"},
		{"a large head", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: " + strings.Repeat("a", 100<<10) + "\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: " + strings.Repeat("a", 100<<10) + "\r\nConnection: close\r\n\r\n"},
	} {
		s := before(t, testkit.RawServer(t, func(conn *net.TCPConn, _ string) { _, _ = io.WriteString(conn, tt.answer) }))
		got := exchangeRaw(t, s.addr, "GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
		if got != tt.want {
			t.Errorf("%s:\n got %.400q\nwant %.400q", tt.name, got, tt.want)
		}
	}
}

// TestStreamsAtOnce: a piece is at the client before the engine has made the next one.
func TestStreamsAtOnce(t *testing.T) {
	next := make(chan struct{})
	wait := func() {
		select {
		case <-next:
		case <-t.Context().Done(): // it has failed
		}
	}
	s := before(t, testkit.RawServer(t, func(conn *net.TCPConn, _ string) {
		_, _ = io.WriteString(conn, sseHead)
		for _, piece := range []string{token, token[:9], token[9:], stop, done} {
			wait()
			_, _ = io.WriteString(conn, chunked(piece))
		}
		wait()
		_, _ = io.WriteString(conn, "0\r\n\r\n")
	}))
	conn := dialRaw(t, s.addr)
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "POST "+chat+" HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{}")
	r := bufio.NewReader(conn)
	if head := readHead(r); !strings.Contains(head, "200 OK") { // before there is a body
		t.Fatalf("got %q", head)
	}
	for _, want := range []string{token, token[:9], token[9:], stop, done} {
		next <- struct{}{}
		got := make([]byte, len(chunked(want)))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != chunked(want) {
			t.Fatalf("got %q (%v), want %q", got, err, chunked(want))
		}
	}
	next <- struct{}{}
	s.becomes(t, canary.Activity{Completed: 1, Progress: 4, Begun: 1})
}

// TestPiecesOfAnyAnswerAtOnce: nor does what is no stream of events wait for its rest.
func TestPiecesOfAnyAnswerAtOnce(t *testing.T) {
	next := make(chan struct{})
	defer close(next)
	s := before(t, testkit.RawServer(t, func(conn *net.TCPConn, _ string) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 2\r\n\r\na")
		<-next
	}))
	conn := dialRaw(t, s.addr)
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "POST /v1/audio/speech HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{}")
	r := bufio.NewReader(conn)
	if head := readHead(r); !strings.Contains(head, "200 OK") {
		t.Fatalf("got %q", head)
	}
	if piece, err := r.ReadByte(); err != nil || piece != 'a' {
		t.Errorf("got %q (%v), want the first half", piece, err)
	}
}

// TestHeadBeforeTheFirstPiece: the head of a stream does not wait for an engine that thinks.
func TestHeadBeforeTheFirstPiece(t *testing.T) {
	think := make(chan struct{})
	defer close(think)
	engine := engineOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-think:
		case <-r.Context().Done():
		}
	})
	s := before(t, engine.URL)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url("/v1/completions"), strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := newClient(t).Do(r)
	if err != nil {
		t.Fatalf("the head of an answer whose body is yet to come: %v", err)
	}
	_ = resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Errorf("got %d %s, want 200 text/event-stream", resp.StatusCode, got)
	}
}

// TestLargeUploads: bodies of any size pass in constant memory, chunked or not, and trailers with
// them.
func TestLargeUploads(t *testing.T) {
	const size = 200 << 20
	sums := make(chan string, 2)
	server := engineOf(t, func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		sums <- fmt.Sprintf("%x %d %v %s", h.Sum(nil), n, err, r.Trailer.Get("X-Sum"))
	})
	s := before(t, server.URL)
	block := make([]byte, 1<<20)
	_, _ = rand.Read(block)
	h := sha256.New()
	for range size / len(block) {
		h.Write(block)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, length := range []int64{size, -1} {
		blocks := make([]io.Reader, size/len(block))
		for i := range blocks {
			blocks[i] = bytes.NewReader(block)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url("/v1/audio/transcriptions"), io.MultiReader(blocks...))
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = length
		want := fmt.Sprintf("%x %d %v ", h.Sum(nil), size, error(nil))
		if length < 0 {
			req.Trailer = http.Header{"X-Sum": {"1"}}
			want += "1"
		}
		resp, err := newClient(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got := <-sums; got != want {
			t.Errorf("the engine got %s, want %s", got, want)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 20<<20 {
		t.Errorf("%d bytes were allocated for two bodies of %d", grown, size)
	}
	if a := s.Activity(); a.LargestAnswered != size {
		t.Errorf("the largest body answered has %d bytes, want %d", a.LargestAnswered, size)
	}
}

// TestUpgrades: WebSockets are two streams of bytes.
func TestUpgrades(t *testing.T) {
	s := before(t, testkit.RawServer(t, func(conn *net.TCPConn, request string) {
		if !strings.Contains(request, "Upgrade: websocket") {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(conn, conn)
	}))
	conn := dialRaw(t, s.addr)
	_, _ = io.WriteString(conn, "GET /v1/realtime HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(conn)
	if head := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatalf("got %q", head)
	}
	for _, text := range []string{"one", "two"} {
		_, _ = io.WriteString(conn, text)
		got := make([]byte, len(text))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != text {
			t.Fatalf("got %q (%v), want %q", got, err, text)
		}
	}
	_ = conn.Close()
}

// TestExpectContinue: the engine decides whether it wants the body.
func TestExpectContinue(t *testing.T) {
	s := before(t, testkit.RawServer(t, func(conn *net.TCPConn, _ string) {
		_, _ = io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}))
	got := exchangeRaw(t, s.addr, "POST /v1/x HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 413 ") {
		t.Errorf("got %q, want the engine's 413 at once", got)
	}
}

// TestHeadsOnTheWay: a client sees the engine's 103 before its answer.
func TestHeadsOnTheWay(t *testing.T) {
	var hints atomic.Int64
	answer := make(chan struct{})
	s := before(t, engineOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		<-answer
	}).URL)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		if hints.Add(1) == 1 && code == http.StatusEarlyHints {
			close(answer)
		}
		return nil
	}})
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.url("/"), nil)
	resp, err := newClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if hints.Load() != 1 {
		t.Errorf("%d hints, want one", hints.Load())
	}
}

// TestAnswersDuringAnUpload: an engine may stream while the request's body still comes.
func TestAnswersDuringAnUpload(t *testing.T) {
	s := before(t, engineOf(t, func(w http.ResponseWriter, r *http.Request) {
		out := http.NewResponseController(w)
		_ = out.EnableFullDuplex()
		_ = out.Flush()
		_, _ = io.CopyN(w, r.Body, 5)
		_ = out.Flush()
		_, _ = io.Copy(w, r.Body)
	}).URL)
	r, body := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url("/v1/audio/transcriptions"), r)
	resp, err := newClient(t).Do(req) // the head is there before any body
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, text := range []string{"first", "second"} {
		_, _ = io.WriteString(body, text)
		if text == "second" {
			_ = body.Close()
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != text {
			t.Fatalf("got %q (%v), want %q", got, err, text)
		}
	}
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("got %q (%v) after the end", rest, err)
	}
}
