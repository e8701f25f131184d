package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

const (
	attackers = 4
	siege     = 150 * time.Millisecond // how long each goes on
	guests    = 10                     // requests of others, meanwhile

	// siegeMemory is what all attackers together may cost, in bytes of heap: each has heads of a
	// megabyte on either side at most, which are read into buffers that double, and what copies them.
	siegeMemory = 40 << 20
)

// TestHostileEngine: an engine may send what it likes on some connections. Whoever asks it for
// something else is served, and memory has a bound.
func TestHostileEngine(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	// Answers that are whole end their connection, and say so. Whoever's request was being written to
	// one that just ends would be lost: it may have been read, so it is not sent again.
	const last = ok + "Connection: close\r\n"
	says := func(text string) func(*net.TCPConn) {
		return func(conn *net.TCPConn) { _, _ = io.WriteString(conn, text) }
	}
	for _, tt := range []struct {
		name   string
		attack func(*net.TCPConn)
	}{
		{"a status without an end", endless("HTTP/1.1 200 ", "OK")},
		{"a header without an end", endless(ok+"X-A: ", "a")},
		{"headers without an end", endless(ok, "X-A: a\r\n")},
		{"folded headers without an end", endless(ok+"X-A: a\r\n", " a\r\n")},
		{"interim answers without an end", endless("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")},
		{"100 without an end", endless("", "HTTP/1.1 100 Continue\r\n\r\n")},
		{"trailers without an end", endless(ok+"Transfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n0\r\n", "X-A: a\r\n")},
		{"an extension without an end", endless(ok+"Transfer-Encoding: chunked\r\n\r\n1;", "a")},
		{"a size without an end", endless(ok+"Transfer-Encoding: chunked\r\n\r\n", "0")},
		{"a size beyond all sizes", says(ok + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\na")},
		{"a line without an end", endless(sseHead[:len(sseHead)-len("Transfer-Encoding: chunked\r\n\r\n")]+"\r\ndata: ", "a")},
		{"a document without an end", endless(ok+"Content-Type: application/json\r\n\r\n", `[{"a":`)},
		{"events without an end", endless(ok+"Content-Type: text/event-stream\r\n\r\n", token)},
		{"more than was announced", endless(last+"Content-Length: 2\r\n\r\n{}", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")},
		{"less than was announced", says(ok + "Content-Length: 10\r\n\r\n{}")},
		{"a negative length", says(ok + "Content-Length: -1\r\n\r\n{}")},
		{"two lengths", says(ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}")},
		{"a length and chunks", says(last + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
		{"codings that nobody knows", says(ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")},
		{"an upgrade that nobody asked for", endless("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "a")},
		{"headers with lines in them", says(last + "X-A: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n")},
		{"another protocol", says("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
		{"noise", endless("", "\x00\xff\r\n")},
		{"a reset at once", resetting},
		{"a reset within an answer", func(conn *net.TCPConn) {
			_, _ = io.WriteString(conn, sseHead+chunked(token))
			resetting(conn)
		}},
		{"byte after byte", func(conn *net.TCPConn) {
			for _, b := range []byte(ok + "X-A: " + strings.Repeat("a", 1<<20)) {
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
				<-time.After(time.Millisecond)
			}
		}},
		{"silence", silent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var left atomic.Int64
			s := before(t, testkit.RawServer(t, func(conn *net.TCPConn, request string) {
				if strings.HasPrefix(request, "POST /evil") {
					left.Add(1)
					tt.attack(conn)
					left.Add(-1)
					return
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngood")
			}))
			besieged(t, s, func(conn *net.TCPConn) {
				_, _ = io.WriteString(conn, "POST /evil"+chat+" HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{}")
				_, _ = io.Copy(io.Discard, conn) // until it is over
			})
			testkit.Eventually(t, patience, "no connection to the engine is left", func() bool { return left.Load() == 0 })
		})
	}
}

// TestHostileClient: a client may do what it likes. Others are served, and memory has a bound.
func TestHostileClient(t *testing.T) {
	const post = "POST " + chat + " HTTP/1.1\r\nHost: here\r\n"
	says := func(text string) func(*net.TCPConn) {
		return func(conn *net.TCPConn) {
			_, _ = io.WriteString(conn, text)
			_, _ = io.Copy(io.Discard, conn)
		}
	}
	for _, tt := range []struct {
		name   string
		attack func(*net.TCPConn)
	}{
		{"a request line without an end", endless("GET /", "a")},
		{"headers without an end", endless(post, "X-A: a\r\n")},
		{"a body without an end", endless(post+"Transfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n")},
		{"a body without an end that nobody reads", endless("POST /deaf HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n")},
		{"trailers without an end", endless(post+"Transfer-Encoding: chunked\r\n\r\n0\r\n", "X-A: a\r\n")},
		{"an answer without an end that it does not read", func(conn *net.TCPConn) {
			_, _ = io.WriteString(conn, "GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")
			<-time.After(2 * siege)
		}},
		{"requests without an end, and no answer read", endless("", "GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")},
		{"an upgrade without an end", endless("GET /upgrade HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "a")},
		{"a length and chunks", says(post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n")},
		{"two lengths", says(post + "Content-Length: 2\r\nContent-Length: 20\r\n\r\n{}")},
		{"a length that is none", says(post + "Content-Length: +2\r\n\r\n{}")},
		{"chunks that are none", says(post + "Transfer-Encoding: chunked\r\n\r\nx\r\n\r\n")},
		{"no host", says("GET / HTTP/1.1\r\n\r\n")},
		{"a path with a line in it", says("GET /a\rb HTTP/1.1\r\nHost: here\r\n\r\n")},
		{"another protocol", says("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
		{"noise", endless("", "\x16\x03\x01\x00\xff")},
		{"a reset within its body", func(conn *net.TCPConn) {
			_, _ = io.WriteString(conn, post+"Content-Length: 1000\r\n\r\n{")
			<-time.After(siege / 10)
			resetting(conn)
		}},
		{"byte after byte", func(conn *net.TCPConn) {
			_, _ = io.WriteString(conn, post+"Content-Length: 1000000\r\n\r\n")
			for {
				if _, err := conn.Write([]byte("a")); err != nil {
					return
				}
				<-time.After(time.Millisecond)
			}
		}},
		{"silence", silent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := before(t, engineOf(t, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/evil":
					t.Error("a request within another one reached the engine")
				case "/deaf":
					<-time.After(2 * siege) // net/http does not see that a client leaves whose body is not read
				case "/endless":
					_, _ = io.Copy(w, testkit.Endless("a"))
				case "/upgrade":
					conn, _, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
					<-time.After(2 * siege) // reads nothing
				default:
					_, _ = io.Copy(io.Discard, r.Body)
					_, _ = io.WriteString(w, "good")
				}
			}).URL)
			besieged(t, s, tt.attack)
		})
	}
}

func silent(conn *net.TCPConn) { testkit.UntilGone(conn) }

func endless(before, text string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		_, _ = io.WriteString(conn, before)
		_, _ = io.Copy(conn, testkit.Endless(text))
	}
}

// besieged lets attackers at the proxy, on connections of their own, while others want to be
// served.
func besieged(t *testing.T, s *stand, attack func(*net.TCPConn)) {
	t.Helper()
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	heap, most := memory.HeapAlloc, uint64(0)
	var all sync.WaitGroup
	var conns []*net.TCPConn
	for range attackers {
		conn := dialRaw(t, s.addr)
		conns = append(conns, conn)
		all.Go(func() { attack(conn) })
	}
	client := newClient(t)
	for n := range guests {
		began := time.Now()
		resp, err := client.Post(s.url("/good"+chat), "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Errorf("request %d of somebody else: %v", n, err)
			continue
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || string(text) != "good" {
			t.Errorf("request %d of somebody else: got %d %q, %v", n, resp.StatusCode, text, err)
		}
		runtime.ReadMemStats(&memory)
		most = max(most, memory.HeapAlloc)
		<-time.After(siege/guests - min(time.Since(began), siege/guests))
	}
	for _, conn := range conns {
		resetting(conn)
	}
	all.Wait()
	if most > heap+siegeMemory {
		t.Errorf("%d bytes of heap more than before, want %d at most", most-heap, uint64(siegeMemory))
	}
	testkit.Eventually(t, patience, "nothing is left of it", func() bool { return s.Activity().InFlight == 0 })
	s.mu.Lock() // the last failure may be told after its request has ended
	defer s.mu.Unlock()
	for _, f := range s.failures {
		if line := fmt.Sprint(f.Reason, f.Detail); strings.ContainsAny(line, "\r\n\x00") || len(f.Detail) > 1<<10 {
			t.Errorf("a failure is told as %q", line)
		}
	}
}
