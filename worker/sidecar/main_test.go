package sidecar

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/mocker"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// net/http's server lingers half a second on a connection whose request it did not read to
		// the end.
		goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"),
	)
}

const patience = 10 * time.Second // for what takes milliseconds on an idle machine

// background runs something until the end of the test, or until stop is called.
func background(t testing.TB, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("it ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("it did not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// mock is a mock engine behind real HTTP, until the end of the test.
func runMock(t testing.TB, model, addr string) (e *mocker.Engine, s *mocker.Server, stop func()) {
	t.Helper()
	e, err := mocker.New(mocker.Config{Model: model})
	if err != nil {
		t.Fatalf("mocker.New: %v", err)
	}
	// A port that was in use a moment ago may take another to be free.
	testkit.Eventually(t, patience, "the mock engine listens", func() bool {
		s, err = mocker.NewServer(mocker.ServerConfig{Engine: e, Addr: addr})
		return err == nil
	})
	return e, s, background(t, s.Run)
}

func setKnobs(t testing.TB, e *mocker.Engine, k mocker.Knobs) {
	t.Helper()
	if err := e.SetKnobs(k); err != nil {
		t.Fatalf("SetKnobs: %v", err)
	}
}

// front is a sidecar whose connections end with the test.
func newSidecar(t testing.TB, cfg Config) *Sidecar {
	t.Helper()
	if cfg.Engine == "" {
		cfg.Engine = "vllm"
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	s.intervals = intervals{
		firstRetry: 5 * time.Millisecond, lastRetry: 20 * time.Millisecond, timeout: time.Second,
		poll: 50 * time.Millisecond, metrics: 20 * time.Millisecond,
	}
	t.Cleanup(s.client.http.CloseIdleConnections)
	return s
}

// running is a sidecar whose Run ends with the test.
func runSidecar(t testing.TB, cfg Config) *Sidecar {
	t.Helper()
	s := newSidecar(t, cfg)
	background(t, s.Run)
	return s
}

const streamed = `{"prompt":"x","max_tokens":3,"stream":true}`

// complete asks the engine itself, past any sidecar, and reads its answer.
func complete(ctx context.Context, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v1/completions", strings.NewReader(streamed))
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

const (
	sseHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	docHead = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
	token   = "data: {\"choices\":[{\"text\":\"a\"}]}\n\n"
)
