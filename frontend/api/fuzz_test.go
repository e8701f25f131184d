package api

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// stranger is a connection on which something has been sent, and nothing more will be.
type stranger struct {
	io.Reader
	bytes.Buffer
}

func (s *stranger) Read(b []byte) (int, error)     { return s.Reader.Read(b) }
func (*stranger) Close() error                     { return nil }
func (*stranger) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8000} }
func (*stranger) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9), Port: 1} }
func (*stranger) SetDeadline(time.Time) error      { return nil }
func (*stranger) SetReadDeadline(time.Time) error  { return nil }
func (*stranger) SetWriteDeadline(time.Time) error { return nil }

// Whatever is sent to the port is answered in HTTP, or not at all; for another host with a refusal;
// and of a request that ends in two places, nothing behind it is read.
func FuzzRequest(f *testing.F) {
	s, err := New(Config{Host: "127.0.0.1", Log: testkit.Quiet()}, newKnown(true, nil).builder.Snapshot(), "epoch")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	for _, head := range []string{
		"GET /mesh HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /mesh/a.b.c/7?x=%zz HTTP/1.1\r\nHost: rebound.example\r\n\r\n",
		"GET /mesh HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"x\", W/\"y\"\r\nAccept-Encoding: zstd;q=0.1, br, gzip\r\n\r\nGET / HTTP/1.0\r\n\r\n",
		"GET /ready HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /live HTTP/1.1\r\n\r\n",
		"GET /v1/models/a%2fb/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic x\r\n\r\n", "HEAD //live HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n",
		"GET /events?last-event-id=x HTTP/1.1\r\nHost: localhost\r\n\r\n", "POST /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n",
	} {
		f.Add([]byte(head))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		c := &stranger{Reader: bytes.NewReader(sent)}
		_ = s.app.Server().ServeConn(c) // what it cannot read is an error
		if c.Len() == 0 {
			return
		}
		// Whether the answers behind the first have bodies would be for a parser of requests to say.
		method, _, _ := strings.Cut(string(sent), " ")
		resp, err := http.ReadResponse(bufio.NewReader(&c.Buffer), &http.Request{Method: method})
		if err != nil {
			t.Fatalf("the answer is no HTTP: %v", err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatalf("the body of the answer: %v", err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode/100 == 2 {
			judge(t, sent)
		}
		if resp.StatusCode == http.StatusInternalServerError && !bytes.Contains(sent, []byte(eventsPath)) {
			t.Errorf("answered %s", resp.Status)
		}
	})
}

// judge checks a request that was answered well against how net/http reads it.
func judge(t *testing.T, sent []byte) {
	t.Helper()
	if endsTwice(sent[:max(0, bytes.Index(sent, []byte("\r\n\r\n")))]) {
		t.Error("it ends in two places")
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(sent)))
	if err != nil {
		return // the server is more lenient, which harms nobody here
	}
	if host, _, _ := strings.Cut(r.Host, ":"); strings.HasSuffix(host, ".example") {
		t.Errorf("it is for %q", r.Host)
	}
}
