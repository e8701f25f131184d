package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// TestShutdownLetsRequestsFinish: the worker is not ready at once, refuses new requests, and the
// answer that is under way arrives whole; probes are answered until the end.
func TestShutdownLetsRequestsFinish(t *testing.T) {
	cfg := local()
	log, logged := testkit.Log()
	cfg.Log = log
	g := newGate()
	r := run(t, cfg, map[string]Handler{"generate": g.handle, "echo": echo})
	r.ready()
	resp := r.generate()
	defer func() { _ = resp.Body.Close() }()
	arrives(t, "the handler works", g.entered)

	r.cancel()
	testkit.Eventually(t, waitLimit, "new connections are refused", func() bool {
		c, err := net.Dial("tcp", r.RPCAddr())
		if err == nil {
			_ = c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	status, body := r.get("/health")
	if want := `{"endpoints":{"echo":"notready","generate":"notready"},"status":"notready",`; status != 503 || withoutUptime(t, body) != want {
		t.Errorf("/health: got %d %s, want 503 %s…", status, body, want)
	}
	if status, _ := r.get("/livez"); status != 200 {
		t.Errorf("/livez: got %d, want 200", status)
	}
	select {
	case <-r.ended:
		t.Fatal("Run ended before the request")
	default:
	}
	close(g.open)
	answer, err := io.ReadAll(resp.Body)
	if want := "\"first\"\n\"last\"\n"; err != nil || string(answer) != want {
		t.Errorf("got answer %q (%v), want %q", answer, err, want)
	}
	r.join()
	if _, err := net.Dial("tcp", r.SystemAddr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the status server afterwards: got %v, want %v", err, syscall.ECONNREFUSED)
	}
	at := -1
	for _, step := range []string{"not ready", "deregistered", "requests finished", "status server stopped"} {
		i := strings.Index(logged.String(), "Shutting down: "+step)
		if i < at || i < 0 {
			t.Errorf("%q is missing or out of order in the log:\n%s", step, logged.String())
		}
		at = i
	}
}

// TestShutdownRefusesOnOpenConnections: a request that comes on a connection kept alive gets 503
// while another one drains.
func TestShutdownRefusesOnOpenConnections(t *testing.T) {
	w := create(t, local(), map[string]Handler{"echo": echo})
	w.rpc.routes = rpcRoutes(t.Context(), w)
	ask := func() *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		w.rpc.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/v1/rpc/echo", strings.NewReader("{}")))
		return answer
	}
	if got := ask(); got.Code != http.StatusOK {
		t.Errorf("before the shutdown: got %d", got.Code)
	}
	w.rpc.ln.stop()
	refused := func(want string) {
		t.Helper()
		if got := ask(); got.Code != http.StatusServiceUnavailable || got.Body.String() != want || got.Header().Get("Connection") != "close" {
			t.Errorf("got %d %s with %v, want 503 %s, closing", got.Code, got.Body, got.Header(), want)
		}
	}
	refused(`{"error":"the worker is shutting down"}`)
	w.rpc.front(t.Context(), http.NotFoundHandler())
	refused(`{"error":{"code":503,"message":"the worker is shutting down","param":null,"type":"service_unavailable"}}`)
}

// TestShutdownIsBounded: whatever hangs, Run ends soon after its timeout.
func TestShutdownIsBounded(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for _, tt := range []struct {
		name    string
		handler func(entered chan<- struct{}) Handler
		reads   bool   // the client reads its answer
		status  int    // of the answer
		want    string // of the answer
		broken  bool   // the answer breaks off
		behind  bool   // the handler outlives Run
	}{
		{
			name: "handler that heeds its context, before the first chunk", reads: true,
			handler: func(entered chan<- struct{}) Handler {
				return func(ctx context.Context, _ json.RawMessage, _ func(any) error) error {
					entered <- struct{}{}
					<-ctx.Done()
					return fmt.Errorf("generate: %w", context.Cause(ctx))
				}
			},
			status: 503, want: `{"error":"generate: the worker is shutting down"}`,
		}, {
			name: "handler that heeds its context, in the middle", reads: true,
			handler: func(entered chan<- struct{}) Handler {
				return func(ctx context.Context, _ json.RawMessage, send func(any) error) error {
					_ = send(1)
					entered <- struct{}{}
					<-ctx.Done()
					return send(2)
				}
			},
			status: 200, want: "1\n" + `{"error":"send chunk: the worker is shutting down"}` + "\n", broken: true,
		}, {
			name: "handler that heeds nothing", reads: true,
			handler: func(entered chan<- struct{}) Handler {
				return func(_ context.Context, _ json.RawMessage, send func(any) error) error {
					_ = send(1)
					entered <- struct{}{}
					<-release
					return nil
				}
			},
			status: 200, want: "1\n", broken: true, behind: true,
		}, {
			name: "client that does not read", reads: false,
			handler: func(entered chan<- struct{}) Handler {
				return func(ctx context.Context, request json.RawMessage, send func(any) error) error {
					entered <- struct{}{}
					return flood(ctx, request, send)
				}
			},
			status: 200,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // they wait more than they work
			entered := make(chan struct{}, 1)
			cfg := local()
			log, logged := testkit.Log()
			cfg.Log = log
			cfg.GracefulShutdownTimeout = 20 * time.Millisecond
			r := run(t, cfg, map[string]Handler{"generate": tt.handler(entered)})
			type result struct {
				status int
				body   string
				err    error
			}
			results := make(chan result, 1)
			go func() {
				resp, err := r.client.Post("http://"+r.RPCAddr()+"/v1/rpc/generate", "", strings.NewReader("{}"))
				if err != nil {
					results <- result{err: err}
					return
				}
				defer func() { _ = resp.Body.Close() }()
				if !tt.reads {
					<-r.ended
					results <- result{status: resp.StatusCode}
					return
				}
				body, err := io.ReadAll(resp.Body)
				results <- result{resp.StatusCode, string(body), err}
			}()
			arrives(t, "the handler works", entered)
			if !tt.reads {
				testkit.Eventually(t, waitLimit, "the handler is blocked", func() bool { return r.activity("generate").Blocked == 1 && still(r.Worker) })
			}
			pace, start := testkit.Paced(t), time.Now()
			r.cancel()
			r.join()
			if d, bound := pace.Since(start), cfg.GracefulShutdownTimeout+2*cancelTimeout+time.Second; d > bound {
				t.Errorf("Run took %v to end, want at most %v", d, bound)
			}
			if behind := strings.Contains(logged.String(), "leaving them behind"); behind != tt.behind {
				t.Errorf("left behind: got %v, want %v; log:\n%s", behind, tt.behind, logged.String())
			}
			for line := range strings.Lines(logged.String()) {
				if !strings.Contains(line, " instance="+r.ID().String()) {
					t.Errorf("a line does not say whose it is: %s", line)
				}
			}
			got := <-results
			if errors.Is(got.err, context.DeadlineExceeded) {
				t.Errorf("the client was not cut: %v", got.err)
			}
			if got.status != tt.status || got.body != tt.want || (got.err != nil) != tt.broken {
				t.Errorf("got %d %q (%v), want %d %q, broken off %v", got.status, got.body, got.err, tt.status, tt.want, tt.broken)
			}
		})
	}
}

// TestShutdownDoesNotWaitForIdleClients: connections that are open without a request, used before
// or not.
func TestShutdownDoesNotWaitForIdleClients(t *testing.T) {
	r := run(t, local(), map[string]Handler{"echo": echo})
	r.ready()
	r.call("echo", "1") // its connection is kept alive
	for _, addr := range []string{r.RPCAddr(), r.SystemAddr()} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	testkit.Eventually(t, waitLimit, "the connections are accepted", func() bool {
		open := func(l *listener) int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.conns) }
		return open(r.rpc.ln) == 2 && open(r.system.ln) == 2
	})
	pace, start := testkit.Paced(t), time.Now()
	r.cancel()
	r.join()
	if d := pace.Since(start); d > time.Second {
		t.Errorf("Run took %v to end, want no wait", d)
	}
}

func TestRunWithAContextThatHasEnded(t *testing.T) {
	w := create(t, local(), map[string]Handler{"echo": echo})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestRunEndsWhenAServerDies: with that server's error, and in order.
func TestRunEndsWhenAServerDies(t *testing.T) {
	for what, dying := range map[string]func(*Worker) *listener{
		"serve requests": func(w *Worker) *listener { return w.rpc.ln },
		"serve status":   func(w *Worker) *listener { return w.system.ln },
	} {
		w := create(t, local(), map[string]Handler{"echo": echo})
		done := make(chan error, 1)
		go func() { done <- w.Run(t.Context()) }()
		for _, s := range []*server{w.rpc, w.system} {
			c, err := net.Dial("tcp", s.ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			testkit.Eventually(t, waitLimit, "the servers serve", func() bool {
				s.ln.mu.Lock()
				defer s.ln.mu.Unlock()
				return len(s.ln.conns) > 0
			})
		}
		_ = dying(w).Close() // as if something else had
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), "run worker: "+what) {
				t.Errorf("got %v, want an error of %q", err, what)
			}
		case <-time.After(waitLimit):
			t.Fatalf("%s: Run did not end", what)
		}
	}
}

func TestRunRunsOnce(t *testing.T) {
	r := run(t, local(), map[string]Handler{"echo": echo})
	r.ready()
	if err := r.Run(t.Context()); err == nil || err.Error() != "run worker: it was called before" {
		t.Errorf("second Run: got %v", err)
	}
	if err := r.Handle("late", echo); err == nil || err.Error() != `handle endpoint "late": the worker runs already` {
		t.Errorf("Handle while it runs: got %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	r.ready() // Close did nothing
}

func TestCloseReleasesTheAddresses(t *testing.T) {
	w := create(t, local(), nil)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	for _, addr := range []string{w.SystemAddr(), w.RPCAddr()} {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Errorf("listen again: %v", err)
			continue
		}
		_ = ln.Close()
	}
	if err := w.Run(t.Context()); err == nil || err.Error() != "run worker: the worker is closed" {
		t.Errorf("Run after Close: got %v", err)
	}
}
