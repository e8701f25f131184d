package api

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestTransferLeavesTheAnswerAsItWas(t *testing.T) {
	k := newKnown(false, nil)
	k.discover(testkit.Synced(testkit.Instances(largeFleet)...))
	b := k.builder.Snapshot().Health.Identity
	want := content(b)
	for range 2 {
		if got, err := io.ReadAll(newTransfer(b)); string(got) != want || err != nil {
			t.Errorf("read: got %d bytes, %v, want the %d of the body", len(got), err, len(want))
		}
		var sent strings.Builder
		if n, err := newTransfer(b).send(&sent); sent.String() != want || int(n) != len(want) || err != nil {
			t.Errorf("sent: got %d bytes, %v, want the %d of the body", n, err, len(want))
		}
	}
	const header = "HTTP/1.1 200 OK\r\n"
	for room, sent := range map[int]int{0: 0, 3: 0, len(header): 0, 5000: 5000 - len(header), len(want): len(want) - len(header)} {
		s := newTransfer(b)
		s.header = []byte(header)
		if n, err := s.send(&cramped{room: room}); int(n) != sent || err == nil {
			t.Errorf("a client that goes away after %d bytes: got %d, %v, want %d of the body and an error", room, n, err, sent)
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

// A large listing is sent in segments: that must not show, and the connection must be fit for the
// next request.
func TestLargeHealth(t *testing.T) {
	t.Parallel()
	f := large(t, Config{}, nil)
	f.waitGzip()
	p := f.newest.Load()
	if len(p.Health.Identity.Buffers) < 3 {
		t.Fatalf("got %d segments, want several", len(p.Health.Identity.Buffers))
	}
	want := content(p.Health.Identity)
	if testkit.Gunzip(t, content(p.Health.Gzip())) != want {
		t.Error("gzip holds another body than the plain form")
	}
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
		{"GET", "If-None-Match: " + p.Health.Identity.ETag, 304, ""},
		{"HEAD", "If-None-Match: " + p.Health.Identity.ETag, 304, ""},
		{"GET", "Accept-Encoding: gzip", 200, content(p.Health.Gzip())},
		{"GET", "", 200, want},
	} {
		const twice = 2 // in one packet: the server may send the second answer's header with the first's end
		request := fmt.Sprintf("%s /health HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", tt.method, cmp.Or(tt.header, "X: y"))
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

// Answers that wait in the server's buffer go ahead of a stream, wherever in them the buffer is
// full.
func TestTransferAfterPipelinedAnswers(t *testing.T) {
	t.Parallel()
	f := large(t, Config{}, nil)
	want := content(f.newest.Load().Health.Identity)
	c, err := net.Dial("tcp", f.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	answers := bufio.NewReader(c)
	for n := range 40 {
		const live, health = "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
		if _, err := io.WriteString(c, strings.Repeat(live, n)+health+live); err != nil {
			t.Fatal(err)
		}
		for i := range n + 2 {
			expected := string(liveBody)
			if i == n {
				expected = want
			}
			if got, err := readAnswer(answers, "GET"); err != nil || got.body != expected {
				t.Fatalf("answer %d of %d: got %d bytes, %v, want %d", i+1, n+2, len(got.body), err, len(expected))
			}
		}
	}
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
