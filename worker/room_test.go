package worker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// crowded is a server with little room.
type crowded struct {
	*server
	addr string
	log  *testkit.Buffer
}

// crowd serves until the test ends: by routes that read bodies, or by a backend.
func crowd(t *testing.T, room int64, backend http.Handler) *crowded {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log, lines := testkit.Log()
	s := &crowded{newServer(newListener(inner, room, log), &access.Access{}), inner.Addr().String(), lines}
	if backend != nil {
		s.front(t.Context(), backend)
	}
	s.routes = func(string) (route, bool) {
		return route{kind: access.Liveness, methods: []string{http.MethodPost}, serve: func(w http.ResponseWriter, r *http.Request) error {
			body, err := readBody(w, r, maxBody)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(w, len(body))
			return err
		}}, true
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.serve() })
	t.Cleanup(func() {
		s.stop(0, func() {})
		serving.Wait()
		if left := s.ln.room.Left(); left != room {
			t.Errorf("%d bytes of %d are given back", left, room)
		}
	})
	return s
}

// from connects from an address of loopback, and says something.
func (s *crowded) from(t *testing.T, host byte, text string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, host)}}
	c, err := d.Dial("tcp", s.addr)
	if err != nil {
		t.Skip("no second address of loopback: ", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(waitLimit))
	_, _ = io.WriteString(c, text) // it may have been closed
	return c
}

// answer is what comes, and "" where the connection is closed instead.
func answer(c net.Conn) string {
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.Status + " " + string(body)
}

// hasEnded waits for the end of a connection, with a refusal or without a word.
func hasEnded(c net.Conn) bool {
	_, err := io.Copy(io.Discard, c)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func post(announced int, body string) string {
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", announced, body)
}

// Slow bodies make room for those of somebody else, the oldest first.
func TestSlowBodiesKeepNobodyOut(t *testing.T) {
	const room, slow = 8 << 20, 2 << 20
	s := crowd(t, room, nil)
	var held []net.Conn
	for range 6 {
		held = append(held, s.from(t, 9, post(maxBody, strings.Repeat(" ", slow))))
	}
	c := s.from(t, 1, post(2<<20, strings.Repeat(" ", 2<<20)))
	if got := answer(c); got != "200 OK 2097152" {
		t.Errorf("a body from elsewhere: %q", got)
	}
	if !hasEnded(held[0]) {
		t.Error("the oldest of them is kept")
	}
	if left := s.ln.room.Left(); left < 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// A body for which there is no room, whoever holds it, is refused in words.
func TestNoRoomForABody(t *testing.T) {
	s := crowd(t, 1<<20, nil)
	if got := answer(s.from(t, 1, post(4<<20, strings.Repeat(" ", 600<<10)))); !strings.HasPrefix(got, "503 ") || !strings.Contains(got, "no room") {
		t.Errorf("got %q", got)
	}
	if got := answer(s.from(t, 1, post(3, "abc"))); got != "200 OK 3" {
		t.Errorf("the next one: %q", got)
	}
}

// Heads may be long in front of an engine, and there may be many.
func TestLongHeadsKeepNobodyOut(t *testing.T) {
	const room = 4 << 20
	s := crowd(t, room, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, fmt.Sprint(len(r.Header.Get("X"))))
	}))
	for range 20 {
		s.from(t, 9, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 500<<10))
	}
	c := s.from(t, 1, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 500<<10)+"\r\n\r\n")
	if got := answer(c); got != fmt.Sprintf("200 OK %d", 500<<10) {
		t.Errorf("a long head from elsewhere: %.80q", got)
	}
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: x\r\n\r\n")
	if got := answer(c); got != "200 OK 1" {
		t.Errorf("the next request: %q", got)
	}
}

// Connections that say nothing make room for others; those at work stay.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	s := crowd(t, 10*connCost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			close(begun)
			<-end
		}
		_, _ = io.WriteString(w, "done")
	}))
	working := s.from(t, 9, "GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n")
	arrives(t, "a request is worked on", begun)
	var idle []net.Conn
	for range 30 {
		idle = append(idle, s.from(t, 9, ""))
	}
	if got := answer(s.from(t, 1, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")); got != "200 OK done" {
		t.Errorf("somebody else: %q", got)
	}
	if !hasEnded(idle[0]) {
		t.Error("the oldest that says nothing is kept")
	}
	close(end)
	if got := answer(working); got != "200 OK done" {
		t.Errorf("the one at work: %q", got)
	}
}

// Where all are at work there is no room, which is said once.
func TestAllConnectionsAtWork(t *testing.T) {
	const n = 4
	begun, end := make(chan struct{}, n), make(chan struct{})
	s := crowd(t, n*connCost, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-end
	}))
	for range n {
		s.from(t, 9, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		arrives(t, "a request is worked on", begun)
	}
	for range 3 {
		if c := s.from(t, 1, ""); !hasEnded(c) {
			t.Error("one more gets in")
		}
	}
	close(end)
	if got := strings.Count(s.log.String(), "no room for more connections"); got != 1 {
		t.Errorf("it is said %d times:\n%s", got, s.log)
	}
}
