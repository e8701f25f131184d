package frontend

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestStreamLeavesItsBodyAsItWas(t *testing.T) {
	b := filled(largeFleet).page.Load().plain
	want := text(b)
	for range 2 {
		if got, err := io.ReadAll(newStream(b)); string(got) != want || err != nil {
			t.Errorf("read: got %d bytes, %v, want the %d of the body", len(got), err, len(want))
		}
		var sent strings.Builder
		if n, err := newStream(b).send(&sent); sent.String() != want || int(n) != len(want) || err != nil {
			t.Errorf("sent: got %d bytes, %v, want the %d of the body", n, err, len(want))
		}
	}
	for _, room := range []int{0, streamLead, len(want) - 1} {
		if n, err := newStream(b).send(&cramped{room: room}); int(n) != room || err == nil {
			t.Errorf("a client that goes away: got %d bytes, %v, want %d and an error", n, err, room)
		}
	}
}

// cramped is a writer that fails after some bytes.
type cramped struct{ room int }

func (c *cramped) Write(p []byte) (int, error) {
	if len(p) > c.room {
		n := c.room
		c.room = 0
		return n, fmt.Errorf("no room for %d more", len(p)-n)
	}
	c.room -= len(p)
	return len(p), nil
}

// A large listing is sent in segments: that must not show, and the connection must be fit for the next request.
func TestLargeHealth(t *testing.T) {
	t.Parallel()
	f := large(t, Config{}, make(updates), defaultLimits)
	f.waitGzip()
	p := f.registry.page.Load()
	if len(p.plain.segments) < 3 {
		t.Fatalf("got %d segments, want several", len(p.plain.segments))
	}
	want := text(p.plain)
	c, err := net.Dial("tcp", f.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	answers := bufio.NewReader(c)
	for _, tt := range []struct {
		method, header string
		code           int
		body           string
	}{
		{"GET", "", 200, want},
		{"HEAD", "", 200, ""},
		{"GET", "If-None-Match: " + p.plain.etag, 304, ""},
		{"HEAD", "If-None-Match: " + p.plain.etag, 304, ""},
		{"GET", "Accept-Encoding: gzip", 200, text(p.gzip.Load())},
		{"GET", "", 200, want},
	} {
		const twice = 2 // in one packet: the server may send the second answer's header with the first's end
		request := fmt.Sprintf("%s /health HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", tt.method, cmp.Or(tt.header, "X: y"))
		if _, err := io.WriteString(c, strings.Repeat(request, twice)); err != nil {
			t.Fatal(err)
		}
		for range twice {
			got, err := readAnswer(answers, tt.method)
			if err != nil || got.code != tt.code || got.body != tt.body {
				t.Errorf("%s %s: got %d, %d bytes, %v, want %d, %d bytes", tt.method, tt.header, got.code, len(got.body), err, tt.code, len(tt.body))
			}
			length := got.header.Get("Content-Length")
			if wantLength := fmt.Sprint(len(want)); tt.header == "" && length != wantLength {
				t.Errorf("%s: got Content-Length %q, want %s", tt.method, length, wantLength)
			}
		}
	}
	eventually(t, "the end of sending", func() bool { return f.sendingNow() == 0 })
}

// readAnswer reads the next answer on a connection.
func readAnswer(r *bufio.Reader, method string) (answer, error) {
	res, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b), res.Close}, err
}
