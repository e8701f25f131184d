package worker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestRequestsThatTheServerRefuses(t *testing.T) {
	r := run(t, local(), map[string]Handler{"echo": echo})
	base := "http://" + r.RPCAddr()
	for _, tt := range []struct {
		name, method, path string
		header             http.Header
		body               string
		status             int
		want               string
	}{
		{"method", "GET", "/v1/rpc/echo", nil, "", 405, `{"error":"Method Not Allowed"}`},
		{"path", "POST", "/v1/echo", nil, "", 404, `{"error":"Cannot POST /v1/echo"}`},
		{
			"packed body", "POST", "/v1/rpc/echo", http.Header{"Content-Encoding": {"gzip"}}, "{}",
			415, `{"error":"content encoding \"gzip\": want none"}`,
		}, {
			"long header", "POST", "/v1/rpc/echo", http.Header{"X-Long": {strings.Repeat("x", maxHeader)}}, "",
			431, `{"error":"Request Header Fields Too Large"}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body, err := r.do(tt.method, base+tt.path, tt.body, tt.header)
			if err != nil || status != tt.status || body != tt.want {
				t.Errorf("got %d %s (%v), want %d %s", status, body, err, tt.status, tt.want)
			}
		})
	}
}

// TestAnswersOfBothServers: status, headers and bytes, as clients of earlier versions have them.
func TestAnswersOfBothServers(t *testing.T) {
	r := run(t, local(), map[string]Handler{"echo": echo})
	r.ready()
	const ndjson, plain = "application/x-ndjson", "application/json"
	probe := `{"endpoints":{"echo":"ready"},"status":"ready","uptime":`
	for _, tt := range []struct {
		server, method, path string
		status               int
		kind, allow, want    string
	}{
		{"rpc", "POST", "/v1/rpc/echo", 200, ndjson, "", "{}\n"},
		{"rpc", "POST", "/v1/rpc/echo?x=1", 200, ndjson, "", "{}\n"},
		{"rpc", "POST", "/v1/rpc/echo/", 404, plain, "", `{"error":"Cannot POST /v1/rpc/echo/"}`},
		{"rpc", "POST", "/v1/rpc/", 404, plain, "", `{"error":"Cannot POST /v1/rpc/"}`},
		{"rpc", "POST", "/v1/rpc/echo/x", 404, plain, "", `{"error":"Cannot POST /v1/rpc/echo/x"}`},
		{"rpc", "POST", "/v1//rpc/echo", 404, plain, "", `{"error":"Cannot POST /v1//rpc/echo"}`},
		{"rpc", "POST", "/v1/../v1/rpc/echo", 404, plain, "", `{"error":"Cannot POST /v1/../v1/rpc/echo"}`},
		{"rpc", "POST", "/V1/rpc/echo", 404, plain, "", `{"error":"Cannot POST /V1/rpc/echo"}`},
		{"rpc", "POST", "/v1/rpc/ech%6f", 404, plain, "", `{"error":"no endpoint \"ech%6f\" here, there are: echo"}`},
		{"rpc", "POST", "/x<y>", 404, plain, "", `{"error":"Cannot POST /x\u0026lt;y\u0026gt;"}`},
		{"rpc", "DELETE", "/v1/rpc/echo", 405, plain, "POST", `{"error":"Method Not Allowed"}`},
		{"rpc", "OPTIONS", "*", 404, plain, "", `{"error":"Cannot OPTIONS *"}`},
		{"system", "GET", "/health", 200, plain, "", probe},
		{"system", "GET", "/live?verbose", 200, plain, "", probe},
		{"system", "GET", "/livez", 200, plain, "", `{"message":"Service is live","status":"live"}`},
		{"system", "HEAD", "/livez", 200, plain, "", ""},
		{"system", "GET", "/health/", 404, plain, "", `{"error":"Cannot GET /health/"}`},
		{"system", "GET", "/%68ealth", 404, plain, "", `{"error":"Cannot GET /%68ealth"}`},
		{"system", "GET", "/ready", 200, plain, "", probe},
		{"system", "PUT", "/health", 405, plain, "GET, HEAD, OPTIONS", `{"error":"Method Not Allowed"}`},
		{"system", "GET", "/maintenance", 405, plain, "POST", `{"error":"Method Not Allowed"}`},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			addr := r.RPCAddr()
			if tt.server == "system" {
				addr = r.SystemAddr()
			}
			got := byHand(t, addr, tt.method+" "+tt.path+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
			if got.status != tt.status || !strings.HasPrefix(got.body, tt.want) || tt.want != probe && got.body != tt.want {
				t.Errorf("got %d %s, want %d %s", got.status, got.body, tt.status, tt.want)
			}
			if kind, allow := got.header.Get("Content-Type"), got.header.Get("Allow"); kind != tt.kind || allow != tt.allow {
				t.Errorf("got Content-Type %q and Allow %q, want %q and %q", kind, allow, tt.kind, tt.allow)
			}
			if whole := got.length >= 0; whole != (tt.kind == plain) || got.closes {
				t.Errorf("length %d, closing %v: want JSON in one piece, a stream otherwise, and to be kept alive",
					got.length, got.closes)
			}
		})
	}
}

// A reply is an answer that has been read to its end.
type reply struct {
	status int
	header http.Header
	length int64 // -1: it is a stream
	closes bool  // the connection
	body   string
}

// byHand sends a request as it is written here, on a connection of its own.
func byHand(t *testing.T, addr, request string) reply {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(waitLimit))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, resp.ContentLength, resp.Close, string(body)}
}

// TestBodyThatDoesNotCome: a client that announces a request and does not send it holds nothing for
// long.
func TestBodyThatDoesNotCome(t *testing.T) {
	w := create(t, local(), map[string]Handler{"echo": echo})
	w.rpc.http.ReadTimeout = 50 * time.Millisecond
	r := drive(t, w)
	for _, head := range []string{"Content-Length: 10\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\n"} {
		got := byHand(t, r.RPCAddr(), "POST /v1/rpc/echo HTTP/1.1\r\nHost: localhost\r\n"+head+"{")
		if want := `{"error":"Request Timeout"}`; got.status != http.StatusRequestTimeout || got.body != want || !got.closes {
			t.Errorf("got %+v, want 408 %s, closing", got, want)
		}
	}
	if got := r.activity("echo"); got != (canary.Activity{}) {
		t.Errorf("they count as requests: %+v", got)
	}
}

// TestLongBody: the length that a request announces is refused before its body is read.
func TestLongBody(t *testing.T) {
	r := run(t, local(), map[string]Handler{"echo": echo})
	c, err := net.Dial("tcp", r.RPCAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprintf(c, "POST /v1/rpc/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", maxBody+1); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 413 ")) || !bytes.HasSuffix(answer, []byte(`{"error":"Request Entity Too Large"}`)) {
		t.Errorf("got %q (%v), want 413", answer, err)
	}
}

// TestBodiesGrowAsTheyCome: a length that is announced costs nothing, what comes does.
func TestBodiesGrowAsTheyCome(t *testing.T) {
	r := run(t, local(), map[string]Handler{"echo": echo})
	const clients, sent = 16, 100 << 10
	allocated := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	before := allocated()
	for range clients {
		c, err := net.Dial("tcp", r.RPCAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "POST /v1/rpc/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", maxBody, strings.Repeat(" ", sent)); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, waitLimit, "the requests are read", func() bool {
		r.rpc.ln.mu.Lock()
		defer r.rpc.ln.mu.Unlock()
		busy := 0
		for c := range r.rpc.ln.conns {
			if c.busy {
				busy++
			}
		}
		return busy == clients
	})
	if got := allocated() - before; got > clients*20*sent {
		t.Errorf("%d clients who announced %d bytes each and sent %d took %d", clients, maxBody, sent, got)
	}
	if status, body := r.call("echo", `{}`); status != 200 || body != "{}\n" {
		t.Errorf("beside them: got %d %s", status, body)
	}
}

// TestLongRequests: the bounds on reading a request do not bound how long its handler may take.
func TestLongRequests(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan error, 1)
	w := create(t, local(), map[string]Handler{
		"generate": func(ctx context.Context, _ json.RawMessage, send func(any) error) error {
			entered <- nil
			select {
			case <-release:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			return send("late")
		},
	})
	w.rpc.http.ReadTimeout = 50 * time.Millisecond
	r := drive(t, w)
	time.AfterFunc(5*w.rpc.http.ReadTimeout, func() { close(release) })
	if status, body := r.call("generate", `{}`); status != 200 || body != "\"late\"\n" {
		t.Errorf("got %d %s", status, body)
	}
}
