package worker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

type coded int

func (c coded) Error() string   { return fmt.Sprintf("code %d", int(c)) }
func (c coded) StatusCode() int { return int(c) }

// TestRequests is the specification of answers that come in one piece.
func TestRequests(t *testing.T) {
	fails := func(err error) Handler {
		return func(context.Context, json.RawMessage, func(any) error) error { return err }
	}
	r := run(t, local(), map[string]Handler{
		"echo":     echo,
		"silent":   fails(nil),
		"broken":   fails(errors.New("no model")),
		"bad":      fails(fmt.Errorf("prompt: %w", ErrBadRequest)),
		"coded":    fails(fmt.Errorf("engine: %w", coded(429))),
		"miscoded": fails(coded(200)),
		"panics":   func(context.Context, json.RawMessage, func(any) error) error { panic("secret") },
		"exits": func(context.Context, json.RawMessage, func(any) error) error {
			runtime.Goexit()
			return nil
		},
		"unsendable": func(_ context.Context, _ json.RawMessage, send func(any) error) error { return send(func() {}) },
	})
	long := `"` + strings.Repeat("x", 5<<20) + `"`
	const endpoints = "bad, broken, coded, echo, exits, miscoded, panics, silent, unsendable"
	for _, tt := range []struct {
		name, endpoint, body string
		status               int
		want                 string
	}{
		{"an object", "echo", `{"a":1}`, 200, `{"a":1}` + "\n"},
		{"one line whatever the form", "echo", "{\n \"a\": [1,\n2]}", 200, `{"a":[1,2]}` + "\n"},
		{"text as it is", "echo", `"<a&b>é"`, 200, `"<a&b>é"` + "\n"},
		{"numbers beyond 2^53", "echo", `7587891994254240587`, 200, "7587891994254240587\n"},
		{"a long prompt", "echo", long, 200, long + "\n"},
		{"no chunk at all", "silent", `{}`, 200, ""},
		{"not JSON", "echo", `{"a":`, 400, `{"error":"the request's body is not JSON"}`},
		{"nothing", "echo", ``, 400, `{"error":"the request's body is not JSON"}`},
		{"unknown endpoint", "nope", `{}`, 404, `{"error":"no endpoint \"nope\" here, there are: ` + endpoints + `"}`},
		{"an error", "broken", `{}`, 500, `{"error":"no model"}`},
		{"a bad request", "bad", `{}`, 400, `{"error":"prompt: bad request"}`},
		{"an error with a status", "coded", `{}`, 429, `{"error":"engine: code 429"}`},
		{"an error with a status that is none", "miscoded", `{}`, 500, `{"error":"code 200"}`},
		{"a panic", "panics", `{}`, 500, `{"error":"endpoint panics: the handler panicked"}`},
		{"a handler that ends its goroutine", "exits", `{}`, 500, `{"error":"endpoint exits: the handler ended its goroutine"}`},
		{"a chunk that is not JSON", "unsendable", `{}`, 500, `{"error":"send chunk: json: unsupported type: func()"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if status, body := r.call(tt.endpoint, tt.body); status != tt.status || body != tt.want {
				t.Errorf("got %d %.200s, want %d %.200s", status, body, tt.status, tt.want)
			}
		})
	}
	for name, want := range map[string]canary.Activity{
		"echo": {Completed: 5, Progress: 10}, "silent": {Completed: 1, Progress: 1}, "broken": {Failed: 1, Errors: 1, Progress: 1},
		"panics": {Failed: 1, Errors: 1, Progress: 1}, "exits": {Failed: 1, Errors: 1, Progress: 1},
		"unsendable": {Failed: 1, Errors: 1, Progress: 1}, "bad": {Failed: 1, Progress: 1}, "coded": {Failed: 1, Progress: 1},
	} {
		if got := r.activity(name); got != want {
			t.Errorf("activity of %s: got %+v, want %+v", name, got, want)
		}
	}
	if _, ok := r.Activity("nope"); ok {
		t.Error("an unknown endpoint has activity")
	}
}

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
		{"system", "PUT", "/health", 405, plain, "GET, HEAD", `{"error":"Method Not Allowed"}`},
		{"system", "GET", "/maintenance", 405, plain, "POST", `{"error":"Method Not Allowed"}`},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			addr := r.RPCAddr()
			if tt.server == "system" {
				addr = r.SystemAddr()
			}
			got := byHand(t, addr, tt.method+" "+tt.path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
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
		got := byHand(t, r.RPCAddr(), "POST /v1/rpc/echo HTTP/1.1\r\nHost: x\r\n"+head+"{")
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
	if _, err := fmt.Fprintf(c, "POST /v1/rpc/echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", maxBody+1); err != nil {
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
		if _, err := fmt.Fprintf(c, "POST /v1/rpc/echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", maxBody, strings.Repeat(" ", sent)); err != nil {
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

// TestStreaming: a chunk can be read while the handler still works on the next one.
func TestStreaming(t *testing.T) {
	g := newGate()
	r := run(t, local(), map[string]Handler{"generate": g.handle})
	resp := r.generate()
	defer func() { _ = resp.Body.Close() }()
	if got := resp.Header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Errorf("got content type %q, want application/x-ndjson", got)
	}
	lines := bufio.NewReader(resp.Body)
	if got := readLine(t, lines); got != "\"first\"\n" {
		t.Errorf("got %q first", got)
	}
	arrives(t, "the handler goes on", g.entered)
	if got, want := r.activity("generate"), (canary.Activity{InFlight: 1, Progress: 1}); got != want {
		t.Errorf("activity: got %+v, want %+v", got, want)
	}
	close(g.open)
	if got := readLine(t, lines); got != "\"last\"\n" {
		t.Errorf("got %q last", got)
	}
	if remainder, err := io.ReadAll(lines); err != nil || len(remainder) > 0 {
		t.Errorf("got %q (%v) after the end", remainder, err)
	}
	if got, want := r.activity("generate"), (canary.Activity{Completed: 1, Progress: 3}); got != want {
		t.Errorf("activity: got %+v, want %+v", got, want)
	}
}

// TestErrorAfterTheFirstChunk: a client can tell that the answer is not whole, by its last line
// and by the connection.
func TestErrorAfterTheFirstChunk(t *testing.T) {
	after := func(end func() error) Handler {
		return func(_ context.Context, _ json.RawMessage, send func(any) error) error {
			if err := send(1); err != nil {
				return err
			}
			return end()
		}
	}
	cfg := local()
	log, logged := testkit.Log()
	cfg.Log = log
	r := run(t, cfg, map[string]Handler{
		"error":  after(func() error { return errors.New("engine \"died\"") }),
		"panics": after(func() error { panic("secret") }),
	})
	for endpoint, want := range map[string]string{
		"error":  "1\n" + `{"error":"engine \"died\""}` + "\n",
		"panics": "1\n" + `{"error":"endpoint panics: the handler panicked"}` + "\n",
	} {
		status, body, err := r.try(endpoint, `{}`)
		if status != 200 || body != want || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %d %q (%v), want 200 %q and %v", endpoint, status, body, err, want, io.ErrUnexpectedEOF)
		}
	}
	r.cancel()
	r.join()
	if !strings.Contains(logged.String(), "secret") || !strings.Contains(logged.String(), "rpc_test.go") {
		t.Errorf("the log lacks the panic's value or stack: %s", logged.String())
	}
}

// TestClientLeaves: the handler is told within clientLeft, at whatever moment of the answer, and
// the request is not in flight any longer.
func TestClientLeaves(t *testing.T) {
	const clientLeft = 250 * time.Millisecond
	type sender = func(any) error
	waits := func(ctx context.Context, _ sender) error { <-ctx.Done(); return context.Cause(ctx) }
	for _, tt := range []struct {
		name   string
		chunks int                                 // that the client reads before it leaves
		then   func(context.Context, sender) error // what the handler does meanwhile
	}{
		{"before the first chunk", 0, waits},
		{"after the first chunk", 1, waits},
		{"between chunks", 3, waits},
		{"while chunks are sent", 1, func(_ context.Context, send sender) error {
			for {
				if err := send(strings.Repeat("x", 1000)); err != nil {
					return err
				}
			}
		}},
		{"while it does not read what is sent", 1, func(ctx context.Context, send sender) error {
			return flood(ctx, nil, send)
		}},
	} {
		for _, how := range []string{"closes", "resets", "cancels"} {
			t.Run(tt.name+", it "+how, func(t *testing.T) {
				entered := make(chan struct{}, 1)
				cause := make(chan error, 1)
				r := run(t, local(), map[string]Handler{
					"echo": echo,
					"generate": func(ctx context.Context, _ json.RawMessage, send func(any) error) error {
						for i := range tt.chunks {
							if err := send(i); err != nil {
								return err
							}
						}
						entered <- struct{}{}
						err := tt.then(ctx, send)
						<-ctx.Done()
						cause <- context.Cause(ctx)
						return err
					},
				})
				var leave func()
				if how == "cancels" {
					leave = askAndCancel(t, r, tt.chunks)
				} else {
					leave = askByHand(t, r, tt.chunks, how == "resets")
				}
				arrives(t, "the handler works", entered)
				pace, left := testkit.Paced(t), time.Now()
				leave()
				select {
				case err := <-cause:
					if !errors.Is(err, errClientGone) {
						t.Errorf("the context ended because of %v, want %v", err, errClientGone)
					}
				case <-time.After(waitLimit):
					t.Fatalf("the handler was not told within %v", waitLimit)
				}
				testkit.Eventually(t, waitLimit, "the request is counted", func() bool {
					a := r.activity("generate")
					return a.Failed == 1 && a.Errors == 0 && a.InFlight == 0
				})
				if d := pace.Since(left); d > clientLeft {
					t.Errorf("it was in flight for %v", d)
				}
			})
		}
	}
}

// askAndCancel asks by net/http's client, on a connection that has been used before, and reads
// lines of the answer.
func askAndCancel(t *testing.T, r *harness, lines int) (leave func()) {
	t.Helper()
	r.call("echo", `{}`)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.RPCAddr()+"/v1/rpc/generate", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	var read, done sync.WaitGroup
	read.Add(1)
	done.Go(func() {
		release := sync.OnceFunc(read.Done)
		defer release()
		resp, err := r.client.Do(req)
		if err != nil {
			return // cancelled before the first chunk
		}
		defer func() { _ = resp.Body.Close() }()
		answer := bufio.NewReader(resp.Body)
		for range lines {
			if _, err := answer.ReadString('\n'); err != nil {
				t.Error(err)
			}
		}
		release()
		<-ctx.Done()
	})
	if lines > 0 {
		read.Wait()
	}
	t.Cleanup(done.Wait)
	return cancel
}

// askByHand asks in one write, reads lines of the answer, and leaves by closing the connection, or
// by resetting it.
func askByHand(t *testing.T, r *harness, lines int, reset bool) (leave func()) {
	t.Helper()
	c, err := net.Dial("tcp", r.RPCAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, "POST /v1/rpc/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
		t.Fatal(err)
	}
	if lines > 0 {
		resp, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = c.Close() // first: the body would be read to its end
			_ = resp.Body.Close()
		})
		answer := bufio.NewReaderSize(resp.Body, 16)
		for range lines {
			readLine(t, answer)
		}
	}
	return func() {
		if reset {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
		_ = c.Close()
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

// TestSendAfterTheEnd: a goroutine that a handler leaves behind gets an error, and disturbs nobody.
func TestSendAfterTheEnd(t *testing.T) {
	late := make(chan error, 1)
	ended := make(chan struct{})
	r := run(t, local(), map[string]Handler{
		"generate": func(_ context.Context, _ json.RawMessage, send func(any) error) error {
			go func() {
				<-ended
				late <- send("late")
			}()
			return nil
		},
	})
	if status, body := r.call("generate", `{}`); status != 200 || body != "" {
		t.Errorf("got %d %q", status, body)
	}
	close(ended)
	if err := <-late; !errors.Is(err, errEnded) {
		t.Errorf("got %v, want %v", err, errEnded)
	}
}

// TestSlowClientIsNotTheHandlersFault: who waits for a client to read is blocked, which is neither
// progress nor a stall.
func TestSlowClientIsNotTheHandlersFault(t *testing.T) {
	r := run(t, local(), map[string]Handler{"generate": flood})
	resp := r.generate()
	defer func() { _ = resp.Body.Close() }()
	testkit.Eventually(t, waitLimit, "the handler is blocked", func() bool { return r.activity("generate").Blocked == 1 && still(r.Worker) })
	if got := r.activity("generate"); got.InFlight != 1 {
		t.Errorf("got %+v, want one in flight", got)
	}
}

// TestRequestIsTheHandlersToKeep: the server uses its buffers again, so what a handler gets must
// be a copy.
func TestRequestIsTheHandlersToKeep(t *testing.T) {
	var kept []json.RawMessage
	r := run(t, local(), map[string]Handler{
		"keep": func(_ context.Context, request json.RawMessage, _ func(any) error) error {
			kept = append(kept, request)
			return nil
		},
	})
	for i := range 10 {
		r.call("keep", fmt.Sprintf(`{"n":%d}`, i))
	}
	for i, got := range kept {
		if want := fmt.Sprintf(`{"n":%d}`, i); string(got) != want {
			t.Errorf("request %d is %s now, want %s", i, got, want)
		}
	}
}

// flood sends until it cannot.
func flood(_ context.Context, _ json.RawMessage, send func(any) error) error {
	for {
		if err := send(strings.Repeat("x", 64<<10)); err != nil {
			return err
		}
	}
}

// still says whether nothing moves at the moment: the buffers between handler and client are full.
func still(w *Worker) bool {
	before, _ := w.Activity("generate")
	for range 1000 {
		runtime.Gosched()
	}
	after, _ := w.Activity("generate")
	return before == after
}
