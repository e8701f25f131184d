package worker

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// ambiguous are requests that end in two places, to a path.
func ambiguous(path string) map[string]string {
	head := "POST " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	return map[string]string{
		"length and chunks":              head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"chunks and length":              head + "transfer-encoding: chunked\r\ncontent-LENGTH: 4\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"two lengths":                    head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
		"the same length twice":          head + "Content-Length: 2\r\nX: y\r\nContent-Length: 2\r\n\r\n{}",
		"no length twice":                head + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
		"two lengths in one":             head + "Content-Length: 2, 2\r\n\r\n{}",
		"chunks twice":                   head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"another encoding, and a length": head + "Content-Length: 2\r\nTransfer-Encoding: identity\r\n\r\n{}",
		"a space before the colon":       head + "Content-Length : 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks in HTTP/1.0":             "POST " + path + " HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
	}
}

// ports are those of a worker with handlers, and of one in front of an engine, with TLS and
// without: how to connect, and what is to be asked there.
func ports(t *testing.T) map[string]struct {
	dial func() net.Conn
	path string
} {
	cfg := local()
	cfg.Access.CertFile, cfg.Access.KeyFile = testkit.Certificate(t, t.TempDir(), "server")
	secured, err := access.Client{CAFile: cfg.Access.CertFile}.TLS()
	if err != nil {
		t.Fatal(err)
	}
	handlers := map[string]Handler{"echo": echo}
	plain, secure := run(t, local(), handlers), run(t, cfg, handlers)
	front, stop := fronted(t, time.Second, func(conn *net.TCPConn, request string) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
	})
	t.Cleanup(stop)
	over := func(addr string, cfg *tls.Config) func() net.Conn {
		return func() net.Conn {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			if cfg != nil {
				cfg := cfg.Clone()
				cfg.ServerName = "127.0.0.1"
				return tls.Client(conn, cfg)
			}
			return conn
		}
	}
	return map[string]struct {
		dial func() net.Conn
		path string
	}{
		"requests":           {over(plain.RPCAddr(), nil), "/v1/rpc/echo"},
		"status":             {over(plain.SystemAddr(), nil), "/health"},
		"requests, TLS":      {over(secure.RPCAddr(), secured), "/v1/rpc/echo"},
		"status, TLS":        {over(secure.SystemAddr(), secured), "/health"},
		"in front of engine": {over(front.RPCAddr(), nil), "/v1/completions"},
	}
}

// TestAmbiguousRequestsAreRefused: on no port is anything answered but that it is refused, and
// nothing that follows is taken for another request.
func TestAmbiguousRequestsAreRefused(t *testing.T) {
	for name, port := range ports(t) {
		for what, request := range ambiguous(port.path) {
			smuggled := "GET " + port.path + "/smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
			got := testkit.Statuses(t, port.dial(), waitLimit, request+smuggled, 9)
			if len(got) != 1 || got[0] != http.StatusBadRequest && got[0] != http.StatusNotImplemented {
				t.Errorf("%s, %s: answered %v, want 400 or 501 once", name, what, got)
			}
			// On a connection that was used before, as connections of load balancers are.
			before := "GET " + port.path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
			conn := port.dial()
			_ = conn.SetDeadline(time.Now().Add(waitLimit))
			if _, err := io.WriteString(conn, before); err != nil {
				t.Fatal(err)
			}
			first, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, first.Body)
			_ = first.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if got := testkit.Statuses(t, conn, waitLimit, request+smuggled, 9); len(got) != 1 || got[0] != http.StatusBadRequest && got[0] != http.StatusNotImplemented {
				t.Errorf("%s, %s, on a connection that was used before: answered %v, want 400 or 501 once", name, what, got)
			}
		}
	}
}

// TestRequestsThatComeTogether: what came together with the request before it is answered by its
// chunks, and nothing after it is.
func TestRequestsThatComeTogether(t *testing.T) {
	for name, port := range ports(t) {
		if strings.HasPrefix(name, "status") {
			continue
		}
		head := "POST " + port.path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n"
		plain := head + "Content-Length: 2\r\n\r\n{}"
		chunks := head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
		both := head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
		for _, tt := range []struct {
			request string
			want    string
		}{
			{plain + plain + plain, "[200 200 200]"},
			{plain + chunks + plain, "[200 200]"},
			{plain + both + plain, "[200 200]"},
		} {
			if got := fmt.Sprint(testkit.Statuses(t, port.dial(), waitLimit, tt.request, 3)); got != tt.want && name != "in front of engine" ||
				len(strings.Fields(got)) > len(strings.Fields(tt.want)) {
				t.Errorf("%s: %q answered with %s, want %s", name, tt.request, got, tt.want)
			}
		}
	}
}

// TestChunksKeepTheirConnection: a client that sends one request after the other, each in chunks,
// does so on one connection, however soon it sends the next.
func TestChunksKeepTheirConnection(t *testing.T) {
	for name, port := range ports(t) {
		if !strings.HasPrefix(name, "requests") {
			continue // the engine here closes each connection
		}
		conn := port.dial()
		_ = conn.SetDeadline(time.Now().Add(waitLimit))
		answers := bufio.NewReader(conn)
		for i := range 200 {
			if _, err := io.WriteString(conn, "POST "+port.path+" HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatalf("%s: request %d: %v", name, i, err)
			}
			_, err = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
			if err != nil || answer.StatusCode != http.StatusOK || answer.Close {
				t.Fatalf("%s: request %d: %s, closes %v (%v)", name, i, answer.Status, answer.Close, err)
			}
		}
		_ = conn.Close()
	}
}

// TestHostsOfWorkers: who has a name of his own mean 127.0.0.1 reaches nothing.
func TestHostsOfWorkers(t *testing.T) {
	for name, port := range ports(t) {
		for host, allowed := range map[string]bool{"127.0.0.1": true, "localhost:8888": true, "[::1]": true, "rebound.example": false, "127.0.0.1.rebound.example:80": false} {
			method := "POST"
			if strings.HasPrefix(name, "status") {
				method = "GET"
			}
			got := testkit.Statuses(t, port.dial(), waitLimit, method+" "+port.path+" HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 2\r\n\r\n{}", 1)
			if refused := fmt.Sprint(got) == "[403]"; refused == allowed || len(got) != 1 {
				t.Errorf("%s for %s: answered %v", name, host, got)
			}
		}
	}
	cfg := local()
	cfg.Access.Hosts = []string{"engine.example"}
	r := run(t, cfg, map[string]Handler{"echo": echo})
	for host, want := range map[string]string{"engine.example": "[200]", "rebound.example": "[403]"} {
		conn, err := net.Dial("tcp", r.RPCAddr())
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(testkit.Statuses(t, conn, waitLimit, "POST /v1/rpc/echo HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 2\r\n\r\n{}", 1)); got != want {
			t.Errorf("for %s, with engine.example allowed: answered %s, want %s", host, got, want)
		}
	}
}

// TestPlainHTTPWhereTLSIsSpoken: the client is told.
func TestPlainHTTPWhereTLSIsSpoken(t *testing.T) {
	port := ports(t)["requests, TLS"]
	conn := port.dial().(*tls.Conn).NetConn()
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(waitLimit))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(conn)
	if !strings.Contains(string(said), "400 Bad Request") || !strings.Contains(string(said), "HTTPS server") {
		t.Errorf("told %q", said)
	}
}

// FuzzHead: however a head is cut into pieces, the same is read of it; and nothing is kept.
func FuzzHead(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx"), 7)
	f.Add([]byte("\n\n\n"), 1)
	f.Fuzz(func(t *testing.T, all []byte, piece int) {
		whole, pieces := newHead(), newHead()
		whole.read(all)
		piece = max(1, piece%64)
		for rest := all; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
			pieces.read(rest[:min(piece, len(rest))])
		}
		if whole != pieces {
			t.Errorf("in pieces of %d: %+v, as a whole %+v", piece, pieces, whole)
		}
		line, _, _ := strings.Cut(strings.ReplaceAll(string(all), "\r", ""), "\n")
		if whole.later && whole.line != lineSum(line) {
			t.Errorf("the first line is %q, and summed as another", line)
		}
	})
}
