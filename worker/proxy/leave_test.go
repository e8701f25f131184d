package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// atOnce is when an engine must know that its client is gone. The rest of it is for a machine that
// is busy with other tests.
const atOnce = 250 * time.Millisecond

// TestClientLeaves: whenever a client leaves, the engine's request ends, and nothing is in flight.
func TestClientLeaves(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers string // before the client leaves
		request string
		leave   func(*net.TCPConn)
		chunks  uint64
	}{
		{"before the first byte", "", `{"stream":true}`, closing, 0},
		{"between tokens", sseHead + chunked(token), `{"stream":true}`, closing, 1},
		{"of a request that does not stream", "", `{}`, closing, 0},
		{"in the middle of a document", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{", `{}`, closing, 0},
		{"with a reset", sseHead + chunked(token), `{"stream":true}`, resetting, 1},
		{"with half of it", sseHead + chunked(token), `{"stream":true}`, halfClosing, 1},
		{"with half of it, before the first byte", "", `{"stream":true}`, halfClosing, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, gone := make(chan struct{}), make(chan struct{})
			s := before(t, testkit.RawServer(t, func(conn *net.TCPConn, _ string) {
				close(got)
				_, _ = io.WriteString(conn, tt.answers)
				testkit.UntilGone(conn)
				close(gone)
			}))
			conn := dialRaw(t, s.addr)
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, "POST "+chat+" HTTP/1.1\r\nHost: here\r\nContent-Length: "+itoa(len(tt.request))+"\r\n\r\n"+tt.request)
			<-got
			if tt.answers != "" {
				if head := readHead(bufio.NewReader(conn)); !strings.Contains(head, "200 OK") {
					t.Fatalf("got %q", head)
				}
			}
			s.becomes(t, canary.Activity{InFlight: 1, Progress: tt.chunks, Begun: min(tt.chunks, 1), Unbegun: 1 - min(tt.chunks, 1)})
			pace, left := testkit.Paced(t), time.Now()
			tt.leave(conn)
			<-gone
			if took := pace.Since(left); took > atOnce {
				t.Errorf("the engine knew after %v, want %v", took, atOnce)
			}
			s.becomes(t, canary.Activity{Failed: 1, Progress: 1 + tt.chunks, Begun: min(tt.chunks, 1)})
			if got := s.reasons(); len(got) > 0 {
				t.Errorf("the engine is blamed: %v", got)
			}
			if rest, _ := io.ReadAll(conn); tt.answers == "" && len(rest) > 0 {
				t.Errorf("a request that was given up is answered: %q", rest)
			}
		})
	}
}

// TestClientLeavesWhileItsBodyIsUnread: net/http notices nothing before it has read the body, and
// this engine does not read it.
func TestClientLeavesWhileItsBodyIsUnread(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){"closing": closing, "half closing": halfClosing, "resetting": resetting} {
		t.Run(name, func(t *testing.T) {
			got, gone := make(chan struct{}), make(chan struct{})
			s := before(t, testkit.RawServer(t, func(conn *net.TCPConn, _ string) {
				close(got)
				testkit.UntilGone(conn) // reads, until the proxy has left
				close(gone)
			}))
			conn := dialRaw(t, s.addr)
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, "POST "+chat+" HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n{")
			<-got
			pace, left := testkit.Paced(t), time.Now()
			leave(conn)
			<-gone
			if took := pace.Since(left); took > atOnce {
				t.Errorf("the engine knew after %v, want %v", took, atOnce)
			}
			s.becomes(t, canary.Activity{Failed: 1, Progress: 1})
			if got := s.reasons(); len(got) > 0 {
				t.Errorf("the engine is blamed: %v", got)
			}
			if rest, _ := io.ReadAll(conn); strings.HasPrefix(string(rest), "HTTP/1.1 200 ") {
				t.Errorf("half a request is answered: %q", rest)
			}
		})
	}
}

// TestHalfSentUploadIsNotTheEngines: a client that sends half of its request, and waits, is waited
// for. From the end on it is the engine's turn.
func TestHalfSentUploadIsNotTheEngines(t *testing.T) {
	taken, answer := make(chan struct{}), make(chan struct{})
	s := before(t, engineOf(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		close(taken)
		<-answer
		_, _ = io.WriteString(w, "{}")
	}).URL)
	conn := dialRaw(t, s.addr)
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "POST "+chat+" HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{")
	s.becomes(t, canary.Activity{InFlight: 1, Unbegun: 1, Blocked: 1})
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, "}")
	<-taken
	s.becomes(t, canary.Activity{InFlight: 1, Unbegun: 1})
	close(answer)
	_ = readHead(bufio.NewReader(conn))
}

// TestHalfSentUploadOfOneWhoLeaves: nothing of it stays blocked.
func TestHalfSentUploadOfOneWhoLeaves(t *testing.T) {
	s := before(t, engineOf(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) }).URL)
	conn := dialRaw(t, s.addr)
	_, _ = io.WriteString(conn, "POST "+chat+" HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{")
	s.becomes(t, canary.Activity{InFlight: 1, Unbegun: 1, Blocked: 1})
	closing(conn)
	s.becomes(t, canary.Activity{Failed: 1, Progress: 1})
	next := dialRaw(t, s.addr)
	defer func() { _ = next.Close() }()
	_, _ = io.WriteString(next, "POST "+chat+" HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{")
	s.becomes(t, canary.Activity{InFlight: 1, Unbegun: 1, Failed: 1, Progress: 1, Blocked: 1})
}

// TestClientLeavesAnUploadThatNobodyReads: the engine does not take the body, so that the proxy
// cannot read on.
func TestClientLeavesAnUploadThatNobodyReads(t *testing.T) {
	got, gone := make(chan struct{}), make(chan struct{})
	s := before(t, engineOf(t, func(w http.ResponseWriter, r *http.Request) {
		close(got)
		<-gone
	}).URL)
	conn := dialRaw(t, s.addr)
	_, _ = io.WriteString(conn, "POST "+chat+" HTTP/1.1\r\nHost: here\r\nContent-Length: 100000000\r\n\r\n")
	_ = conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	_, _ = io.Copy(conn, testkit.Endless("x")) // until nobody takes it
	<-got
	s.becomes(t, canary.Activity{InFlight: 1, Unbegun: 1}) // it is the engine who is waited for
	resetting(conn)
	pace, left := testkit.Paced(t), time.Now()
	s.becomes(t, canary.Activity{Failed: 1, Progress: 1})
	if took := pace.Since(left); took > atOnce {
		t.Errorf("it was over after %v, want %v", took, atOnce)
	}
	close(gone)
}

func closing(c *net.TCPConn) { _ = c.Close() }

func halfClosing(c *net.TCPConn) { _ = c.CloseWrite() }

func resetting(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
