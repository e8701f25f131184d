package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/mocker"
)

const streamed = `{"prompt":"x","max_tokens":3,"stream":true}`

func TestGenerate(t *testing.T) {
	_, server, _ := runMock(t, "mock", "")
	s := newSidecar(t, Config{Backend: "http://" + server.Addr()})
	for _, tt := range []struct {
		name, request string
		chunks        int
		want          string
	}{
		{"completion, streamed", streamed, 3, `"text":" the"`},
		{"completion, in one piece", `{"prompt":"x","max_tokens":2}`, 1, `"text":" the mesh"`},
		{"chat, streamed", `{"messages":[{"role":"user","content":"x"}],"max_tokens":2,"stream":true}`, 3, `"role":"assistant"`},
		{"chat, in one piece", `{"messages":[{"role":"user","content":"x"}],"max_tokens":2}`, 1, `"object":"chat.completion"`},
	} {
		chunks, err := generate(t, s, tt.request)
		if err != nil || len(chunks) != tt.chunks || !strings.Contains(chunks[0], tt.want) {
			t.Errorf("%s: got %d chunks (%v): %s, want %d with %s", tt.name, len(chunks), err, chunks, tt.chunks, tt.want)
		}
	}
}

// Each fault of the mock engine reaches the client as what it is, and the engine is of use again
// after it.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		knobs  mocker.Knobs
		chunks int
		status int // of the error; 0 is none
		text   string
	}{
		{"slow to begin", mocker.Knobs{FirstTokenDelay: 50 * time.Millisecond}, 3, 0, ""},
		{"status 500", mocker.Knobs{ErrorStatus: 500}, 0, 500, "engine: status 500: the mock engine was told to fail"},
		{"status 429", mocker.Knobs{ErrorStatus: 429}, 0, 429, "engine: status 429: the mock engine was told to fail"},
		{"error at once", mocker.Knobs{ErrorChunk: new(0)}, 1, 502, "EngineCore encountered an issue."},
		{"error after a token", mocker.Knobs{ErrorChunk: new(1)}, 2, 502, "EngineCore encountered an issue."},
		{"drop at once", mocker.Knobs{Drop: new(0)}, 0, 502, "broke off"},
		{"drop after a token", mocker.Knobs{Drop: new(1)}, 1, 502, "unexpected EOF"},
		{"refuse", mocker.Knobs{Refuse: true}, 0, 503, "engine: connection refused"},
		{"empty", mocker.Knobs{Empty: true}, 0, 502, "ended without [DONE]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, server, _ := runMock(t, "mock", "")
			s := newSidecar(t, Config{Backend: "http://" + server.Addr()})
			setKnobs(t, e, tt.knobs)
			var chunks []string
			var err error
			testkit.Eventually(t, patience, "the engine does what its knobs say", func() bool {
				chunks, err = generate(t, s, streamed)
				return !tt.knobs.Refuse || isConnectionRefused(err)
			})
			if len(chunks) != tt.chunks || status(err) != tt.status || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %d chunks and %v (%d), want %d and %q (%d)", len(chunks), err, status(err), tt.chunks, tt.text, tt.status)
			}
			if tt.knobs.ErrorChunk != nil && canary.ErrorIn([]byte(chunks[len(chunks)-1])) == nil {
				t.Errorf("the last chunk is %s, want the engine's error", chunks[len(chunks)-1])
			}
			setKnobs(t, e, mocker.Knobs{})
			testkit.Eventually(t, patience, "the engine is mended", func() bool {
				chunks, err = generate(t, s, streamed)
				return err == nil
			})
			if len(chunks) != 3 {
				t.Errorf("mended: got %d chunks, want 3", len(chunks))
			}
		})
	}
}

// A client that leaves takes the engine's work along, however far it is.
func TestClientLeaves(t *testing.T) {
	for name, knobs := range map[string]mocker.Knobs{
		"before the first chunk": {Freeze: new(0)},
		"in the middle":          {Freeze: new(1)},
	} {
		e, server, _ := runMock(t, "mock", "")
		s := newSidecar(t, Config{Backend: "http://" + server.Addr()})
		setKnobs(t, e, knobs)
		ctx, leave := context.WithCancelCause(context.Background())
		gone := errors.New("the client is gone")
		done := make(chan error, 1)
		go func() {
			done <- s.Generate(ctx, json.RawMessage(streamed), func(any) error {
				leave(gone)
				return nil
			})
		}()
		inFlight := func(want string) func() bool {
			return func() bool {
				return strings.Contains(get(t, "http://"+server.Addr()+"/metrics"), "running{engine=\"0\",model_name=\"mock\"} "+want)
			}
		}
		if *knobs.Freeze == 0 {
			testkit.Eventually(t, patience, "the request runs", inFlight("1"))
			leave(gone)
		}
		select {
		case err := <-done:
			if !errors.Is(err, gone) {
				t.Errorf("%s: got %v, want the cause of the end", name, err)
			}
		case <-time.After(patience):
			t.Fatalf("%s: Generate did not end", name)
		}
		testkit.Eventually(t, patience, "the engine sees that the client is gone", inFlight("0"))
	}
}

// get reads a page on a connection of its own.
func get(t testing.TB, url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return string(body)
}

// A chunk is sent before the engine has made the next one.
func TestStreamsWithoutBuffering(t *testing.T) {
	taken := make(chan struct{})
	url := testkit.RawServer(t, func(conn *net.TCPConn, _ string) {
		_, _ = io.WriteString(conn, sseHead)
		for range 3 {
			_, _ = io.WriteString(conn, token)
			<-taken // only then does the next one exist
		}
		_, _ = io.WriteString(conn, "data: [DONE]\n\n")
	})
	s := newSidecar(t, Config{Backend: url})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := s.Generate(ctx, json.RawMessage(streamed), func(any) error {
		taken <- struct{}{}
		return nil
	})
	if err != nil {
		t.Errorf("got %v, want all chunks", err)
		close(taken)
	}
}

// An engine whose client does not read is not read from.
func TestSlowClient(t *testing.T) {
	held := make(chan int, 1)
	url := testkit.RawServer(t, func(conn *net.TCPConn, _ string) {
		_, _ = io.WriteString(conn, sseHead)
		chunk := `data: {"text":"` + strings.Repeat("x", 64<<10) + "\"}\n\n"
		for wrote := 0; ; {
			_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // it is open
			n, err := io.WriteString(conn, chunk)
			if wrote += n; err != nil {
				held <- wrote
				return
			}
		}
	})
	s := newSidecar(t, Config{Backend: url})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := s.Generate(ctx, json.RawMessage(streamed), func(any) error {
		select {
		case wrote := <-held: // what the kernel holds is all there is
			if wrote > 64<<20 {
				t.Errorf("the engine could write %d bytes", wrote)
			}
		case <-time.After(patience):
			t.Error("the engine is not held up")
		}
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of the context", err)
	}
}

func TestSendFails(t *testing.T) {
	left := make(chan struct{})
	url := testkit.RawServer(t, func(conn *net.TCPConn, _ string) {
		_, _ = io.WriteString(conn, sseHead+token)
		testkit.UntilGone(conn)
		close(left)
	})
	s := newSidecar(t, Config{Backend: url})
	want := errors.New("send chunk: the client is gone")
	if err := s.Generate(context.Background(), json.RawMessage(streamed), func(any) error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	select {
	case <-left:
	case <-time.After(patience):
		t.Error("the connection to the engine is still open")
	}
}

// Requests and chunks pass as they are: what a float cannot hold, what JSON need not escape, what
// nobody knows.
func TestBytesPassThrough(t *testing.T) {
	const request = `{"prompt":"<&>\u2028 é", "seed":9007199254740993, "unknown":{"b":1,"a":[1.50,1e400]}}`
	const chunk = `{"id":18446744073709551615,"logprob":-0.10,"text":"<b>&\u00e9"}`
	var got string
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.URL.Path + " " + r.Header.Get("Content-Type") + " " + string(body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprintf(w, "data: %s\n\ndata: [DONE]\n\n", chunk)
	}))
	defer engine.Close()
	s := newSidecar(t, Config{Backend: engine.URL + "/root/"})
	chunks, err := generate(t, s, request)
	if err != nil || len(chunks) != 1 || chunks[0] != chunk {
		t.Errorf("got %q, %v, want %s", chunks, err, chunk)
	}
	if want := "/root/v1/completions application/json " + request; got != want {
		t.Errorf("the engine got %s, want %s", got, want)
	}
}

// Answers that are complete leave their connection to the next request; others take it along.
func TestConnectionsAreKept(t *testing.T) {
	var connections atomic.Int64
	e, _ := mocker.New(mocker.Config{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		body, _ := io.ReadAll(r.Body)
		_ = e.Generate(r.Context(), body, func(chunk any) error {
			data, err := json.Marshal(chunk)
			_, _ = fmt.Fprintf(w, "data: %s\n\n", data)
			return errors.Join(err, http.NewResponseController(w).Flush())
		})
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
		_ = http.NewResponseController(w).Flush() // the end of the body comes on its own, as uvicorn's does
		<-time.After(5 * time.Millisecond)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	s := newSidecar(t, Config{Backend: server.URL})
	for range 20 {
		if chunks, err := generate(t, s, streamed); err != nil || len(chunks) != 3 {
			t.Fatalf("got %d chunks, %v", len(chunks), err)
		}
	}
	if got := connections.Load(); got > 3 {
		t.Errorf("20 requests took %d connections, want one or so", got)
	}
}
