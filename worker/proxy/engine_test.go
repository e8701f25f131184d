package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// TestBurstsFindConnections: a burst dials once, and the next one finds what it left.
func TestBurstsFindConnections(t *testing.T) {
	var mu sync.Mutex
	dialled := map[string]bool{} // by the port that it came from
	const size = 200
	full := make(chan struct{}, size) // all of a burst are there at the same time
	release := make(chan struct{})
	server := engineOf(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		dialled[r.RemoteAddr] = true
		mu.Unlock()
		full <- struct{}{}
		<-release
	})
	s := before(t, server.URL)
	client := newClient(t)
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 1000
	burst := func() {
		var wg sync.WaitGroup
		for range size {
			wg.Go(func() {
				resp, err := client.Post(s.url("/v1/completions"), "", strings.NewReader("{}"))
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			})
		}
		for range size {
			<-full
		}
		for range size {
			release <- struct{}{}
		}
		wg.Wait()
	}
	burst()
	first := len(dialled)
	burst()
	if again := len(dialled) - first; again > 0 {
		t.Errorf("the first burst dialled %d times, the second %d times", first, again)
	}
}

// TestEngineClosesIdleConnections: golang/go#22158. An engine that closes connections when it likes
// costs no request, and gets none twice.
func TestEngineClosesIdleConnections(t *testing.T) {
	var served atomic.Int64
	server := engineOf(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		served.Add(1)
	})
	server.Config.SetKeepAlivesEnabled(true)
	s := before(t, server.URL)
	client := newClient(t)
	const n = 300
	for i := range n {
		resp, err := client.Post(s.url(chat), "application/json", strings.NewReader(strings.Repeat("x", i%2*i*40)))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("request %d: status %d", i, resp.StatusCode)
		}
		server.CloseClientConnections() // idle, and closed with the next request on its way
	}
	if got := served.Load(); got != n {
		t.Errorf("the engine served %d requests, want %d", got, n)
	}
}

// TestNeverTwice: an engine that breaks off while it works sees a POST once, whatever headers say.
func TestNeverTwice(t *testing.T) {
	const requests = 30
	for name, body := range map[string]string{"with a body": `{"a":1}`, "without one": ""} {
		t.Run(name, func(t *testing.T) {
			var seen, first atomic.Int64
			s := before(t, testkit.RawServer(t, func(conn *net.TCPConn, begins string) {
				r := bufio.NewReader(io.MultiReader(strings.NewReader(begins), conn))
				for n := 0; ; n++ {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					seen.Add(1)
					if n > 0 {
						return // on a connection that is used again
					}
					first.Add(1)
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
				}
			}))
			client := newClient(t)
			var answered int64
			for range requests {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url(chat), strings.NewReader(body))
				req.Header.Set("Idempotency-Key", "7")
				req.Header.Set("X-Idempotency-Key", "7")
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				switch resp.StatusCode {
				case http.StatusOK:
					answered++
				case http.StatusBadGateway:
				default:
					t.Errorf("got %d %s", resp.StatusCode, text)
				}
			}
			if got := seen.Load(); got != requests {
				t.Errorf("the engine has seen %d requests, want %d", got, requests)
			}
			if got := first.Load(); answered != got || got == requests {
				t.Errorf("%d answers, and %d requests on new connections: want as many, and fewer than %d", answered, got, requests)
			}
		})
	}
}

// TestUnsent: what may be sent again.
func TestUnsent(t *testing.T) {
	given, gone := context.WithCancel(t.Context())
	gone()
	old := &engineConn{}
	old.written.Store(7)
	for _, tt := range []struct {
		name string
		*attempt
		ctx  context.Context
		want bool
	}{
		{"an old connection, to which nothing was written", &attempt{conn: old, before: 7, reused: true}, t.Context(), true},
		{"one to which something was", &attempt{conn: old, before: 6, reused: true}, t.Context(), false},
		{"a new one", &attempt{conn: old, before: 7}, t.Context(), false},
		{"none", &attempt{}, t.Context(), false},
		{"nobody waits any more", &attempt{conn: old, before: 7, reused: true}, given, false},
	} {
		if got := tt.unsent(tt.ctx); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestUnreachable: what is answered where nobody listens, without secrets.
func TestUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	s := before(t, "http://u:s3cret@"+addr, func(c *Config) { c.APIKey = "s3cret" })
	resp, err := newClient(t).Post(s.url(chat), "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	want := `{"error":{"code":502,"message":"the engine behind this worker did not answer: connection refused","param":null,"type":"bad_gateway"}}`
	if resp.StatusCode != http.StatusBadGateway || string(text) != want || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %s, want %s", resp.StatusCode, text, want)
	}
	s.becomes(t, canary.Activity{Failed: 1, Errors: 1, Progress: 1})
	testkit.Eventually(t, patience, "the failure is told", func() bool { return len(s.reasons()) > 0 })
	if got := s.reasons(); len(got) != 1 || got[0] != "refused" {
		t.Errorf("failures %v", got)
	}
}
