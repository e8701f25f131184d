package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// A probe of memberlist that is under way when its pool ends, ends by itself some seconds
		// later.
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"),
	)
}

const waitLimit = 10 * time.Second // for what takes milliseconds on an idle machine

// harness is a worker under test, whose Run ends with the test at the latest.
type harness struct {
	*Worker
	t      *testing.T
	client *http.Client
	cancel context.CancelFunc
	ended  chan struct{} // closed when Run has returned err
	err    error
}

// local is a configuration on loopback, without etcd: nothing listens on port 1.
func local() Config {
	return Config{
		Etcd:                    etcd.Config{Endpoints: []string{"http://127.0.0.1:1"}},
		System:                  SystemConfig{Host: "127.0.0.1"},
		RPC:                     RPCConfig{Host: "127.0.0.1"},
		GracefulShutdownTimeout: waitLimit,
	}
}

func create(t *testing.T, cfg Config, handlers map[string]Handler) *Worker {
	t.Helper()
	w, err := New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	for name, h := range handlers {
		if err := w.Handle(name, h); err != nil {
			t.Fatalf("Handle: %v", err)
		}
	}
	return w
}

func run(t *testing.T, cfg Config, handlers map[string]Handler) *harness {
	t.Helper()
	return drive(t, create(t, cfg, handlers))
}

// drive runs a worker until the test ends.
func drive(t *testing.T, w *Worker) *harness {
	t.Helper()
	transport := &http.Transport{}
	ctx, cancel := context.WithCancel(context.Background())
	r := &harness{
		Worker: w, t: t, cancel: cancel, ended: make(chan struct{}),
		client: &http.Client{Transport: transport, Timeout: waitLimit},
	}
	go func() {
		defer close(r.ended)
		r.err = r.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		r.join()
		transport.CloseIdleConnections()
	})
	return r
}

// join waits for Run to end.
func (r *harness) join() {
	r.t.Helper()
	arrives(r.t, "Run ends", r.ended)
	if r.err != nil {
		r.t.Errorf("Run: %v", r.err)
	}
}

// generate asks the endpoint of that name for an answer that may stream. The caller closes its
// body.
func (r *harness) generate() *http.Response {
	r.t.Helper()
	resp, err := r.client.Post("http://"+r.RPCAddr()+"/v1/rpc/generate", "application/json", strings.NewReader("{}"))
	if err != nil {
		r.t.Fatalf("POST generate: %v", err)
	}
	return resp
}

// do sends a request and reads the whole answer. The error may come after a part of it.
func (r *harness) do(method, url, body string, header http.Header) (int, string, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func (r *harness) try(endpoint, body string) (int, string, error) {
	return r.do(http.MethodPost, "http://"+r.RPCAddr()+"/v1/rpc/"+endpoint, body, nil)
}

func (r *harness) call(endpoint, body string) (int, string) {
	r.t.Helper()
	status, text, err := r.try(endpoint, body)
	if err != nil {
		r.t.Fatalf("POST %s: %v", endpoint, err)
	}
	return status, text
}

func (r *harness) get(path string) (int, string) {
	r.t.Helper()
	status, text, err := r.do(http.MethodGet, "http://"+r.SystemAddr()+path, "", nil)
	if err != nil {
		r.t.Fatalf("GET %s: %v", path, err)
	}
	return status, text
}

func (r *harness) ready() {
	r.t.Helper()
	testkit.Eventually(r.t, waitLimit, "the worker is ready", func() bool {
		status, _ := r.get("/health")
		return status == http.StatusOK
	})
}

func (r *harness) activity(endpoint string) canary.Activity {
	a, _ := r.Activity(endpoint)
	a.ErrorsInRow, a.LargestAnswered = 0, 0 // package traffic tests them
	return a
}

// readLine reads one line of a streaming answer.
func readLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	s, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("read line: %v after %q", err, s)
	}
	return s
}

// arrives waits for what a channel tells.
func arrives[T any](t *testing.T, what string, ch <-chan T) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(waitLimit):
		t.Fatalf("not within %v: %s", waitLimit, what)
	}
}

// echo sends the request back.
func echo(_ context.Context, request json.RawMessage, send func(any) error) error {
	return send(request)
}

// gate is a handler that sends one chunk, waits to be opened, and sends another.
type gate struct {
	entered chan struct{}
	open    chan struct{}
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 100), open: make(chan struct{})} }

func (g *gate) handle(ctx context.Context, _ json.RawMessage, send func(any) error) error {
	if err := send("first"); err != nil {
		return err
	}
	g.entered <- struct{}{}
	select {
	case <-g.open:
	case <-ctx.Done():
		return fmt.Errorf("gate: %w", context.Cause(ctx))
	}
	return send("last")
}
