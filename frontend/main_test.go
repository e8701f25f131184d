package frontend

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// After a shutdown fasthttp's pool cleaner sleeps out its 10 s before it looks whether it
		// is to end.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		// fasthttp's clock for Date headers has no end.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
	)
}

// patience bounds every wait for a condition. It is long because the race detector on a busy
// machine is slow.
const patience = 20 * time.Second

// updates is a source that a test feeds.
type updates chan dynmesh.RegistryUpdate

func (u updates) Run(ctx context.Context, apply func(dynmesh.RegistryUpdate)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case update := <-u:
			apply(update)
		}
	}
}

// running is a frontend under test.
type running struct {
	*Frontend
	t      testing.TB
	client *http.Client
	stop   context.CancelFunc
	done   chan error // Run's result, buffered
}

// start runs a frontend on loopback until the test ends or calls stop.
func start(t testing.TB, cfg Config, source discovery.Source) *running {
	t.Helper()
	cfg.Host = "127.0.0.1"
	if cfg.GracefulShutdownTimeout == 0 {
		cfg.GracefulShutdownTimeout = 50 * time.Millisecond
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFrontend(cfg, discovery.Named{Name: etcdSource, Source: source})
	if err != nil {
		t.Fatal(err)
	}
	return run(t, f)
}

// run runs a frontend until the test ends or calls stop.
func run(t testing.TB, f *Frontend) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	transport := &http.Transport{DisableCompression: true}
	r := &running{Frontend: f, t: t, client: &http.Client{Transport: transport, Timeout: patience}, stop: stop, done: make(chan error, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.done <- f.Run(ctx)
	}()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		<-ended
	})
	return r
}

type answer struct {
	code   int
	header http.Header
	body   string
	closes bool // with Connection: close
}

// try gets path, with headers given as name, value, name, value…
func (r *running) try(path string, headers ...string) (answer, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+r.Addr()+path, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := r.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b), res.Close}, err
}

func (r *running) get(path string, headers ...string) answer {
	r.t.Helper()
	a, err := r.try(path, headers...)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	testkit.Eventually(t, patience, what, ok)
}

// parsed reads a body of /mesh.
func parsed(t *testing.T, body string) seen {
	t.Helper()
	var s seen
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("%v in %.400s", err, body)
	}
	return s
}
