package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/budget"
)

// from connects from an address of loopback, and asks for a path.
func (r *running) from(host byte, path string) (net.Conn, *bufio.Reader) {
	r.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, host)}}
	c, err := d.Dial("tcp", r.Addr())
	if err != nil {
		r.t.Skip("no second address of loopback: ", err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	if path != "" {
		_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
	}
	return c, bufio.NewReader(c)
}

// statusOf is that of the answer that comes; 0: the connection is closed instead.
func statusOf(r *bufio.Reader) int {
	resp, err := http.ReadResponse(r, nil) //nolint:bodyclose // it may be a stream, which ends with its connection
	if err != nil {
		return 0
	}
	return resp.StatusCode
}

// One address that has taken all streams, and does not read them, keeps no other out: it makes room
// for as many as the others have.
func TestOneAddressCannotTakeAllStreams(t *testing.T) {
	t.Parallel()
	const most = 8
	f := start(t, Config{MaxStreams: most}, nil, quickHeartbeat)
	var taken []*bufio.Reader
	for range most {
		_, r := f.from(9, "/events")
		if got := statusOf(r); got != http.StatusOK {
			t.Fatalf("a stream: %d", got)
		}
		taken = append(taken, r)
	}
	if _, r := f.from(9, "/events"); statusOf(r) != http.StatusServiceUnavailable {
		t.Error("it gets one more")
	}
	for n := 1; n <= most/2; n++ {
		_, r := f.from(1, "/events")
		if got := statusOf(r); got != http.StatusOK {
			t.Errorf("stream %d of another address: %d", n, got)
		}
	}
	if _, r := f.from(1, "/events"); statusOf(r) != http.StatusServiceUnavailable {
		t.Error("the other address gets more than half")
	}
	for i, r := range taken[:most/2] {
		if _, err := io.Copy(io.Discard, r); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("the oldest stream %d goes on: %v", i, err)
		}
	}
	eventually(t, "that there are as many as there may be", func() bool { return f.broadcaster.Subscribers() == most })
	if left := f.broadcaster.room.Left(); left != 0 {
		t.Errorf("there is room for %d more", left)
	}
}

// Connections that say nothing keep nobody out.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	f := start(t, Config{}, nil, func(s *Server) { s.connections.room, s.connections.cost = budget.New(8*connCost), connCost })
	var idle []net.Conn
	for range 20 {
		c, _ := f.from(9, "")
		idle = append(idle, c)
	}
	if _, r := f.from(1, "/live"); statusOf(r) != http.StatusOK {
		t.Error("another address is not answered")
	}
	if _, err := idle[0].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the oldest is kept: %v", err)
	}
	eventually(t, "that no more are open than there is room for", func() bool { return f.connections.len() <= 8 })
}
