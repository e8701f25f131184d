package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

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
		"echo": {Completed: 5, Progress: 10, Begun: 5}, "silent": {Completed: 1, Progress: 2, Begun: 1}, "broken": {Failed: 1, Errors: 1, Progress: 1},
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
	if got, want := r.activity("generate"), (canary.Activity{InFlight: 1, Progress: 1, Begun: 1}); got != want {
		t.Errorf("activity: got %+v, want %+v", got, want)
	}
	close(g.open)
	if got := readLine(t, lines); got != "\"last\"\n" {
		t.Errorf("got %q last", got)
	}
	if remainder, err := io.ReadAll(lines); err != nil || len(remainder) > 0 {
		t.Errorf("got %q (%v) after the end", remainder, err)
	}
	if got, want := r.activity("generate"), (canary.Activity{Completed: 1, Progress: 3, Begun: 1}); got != want {
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
