package proxy

import (
	"bufio"
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
		resp, err := client.Post(s.url(chat), "application/json", strings.NewReader(strings.Repeat("x", 1+i*40)))
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
	var seen atomic.Int64
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer func() { _ = conn.Close() }()
				r := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					if seen.Add(1) > 1 {
						return // mostly on a connection that is used again
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
				}
			})
		}
	})
	s := before(t, "http://"+ln.Addr().String())
	t.Cleanup(func() { _ = ln.Close(); s.Close(); conns.Wait() })
	client := newClient(t)
	for i, body := range []string{`{"a":1}`, `{"a":1}`} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url(chat), strings.NewReader(body))
		req.Header.Set("Idempotency-Key", "7")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if want := []int{200, 502}[i]; resp.StatusCode != want {
			t.Errorf("request %d: got %d %s, want %d", i, resp.StatusCode, text, want)
		}
	}
	if got := seen.Load(); got != 2 {
		t.Errorf("the engine has seen %d requests, want 2", got)
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
