package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// workerGone is scenario c: a worker killed with SIGKILL is gone from /health within TTL + 2 s; one
// stopped with SIGTERM within 1 s, after its in-flight request has finished.
func workerGone(t *testing.T, w *world) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 2)
	workers := w.startWorkers(e, 0, 3, "generate")
	killed, stopped, stays := workers[0], workers[1], workers[2]
	await(t, settled, frontends, keysOf(workers...))
	sameLives := w.census(frontends, []*worker{stays})
	vigils := w.alive(frontends, []*worker{stays})

	w.must("kill", killed.signal(syscall.SIGKILL))
	gone := await(t, leaseTTL+2*time.Second, frontends, keysOf(stopped, stays))
	t.Logf("killed: gone from every /health within %v", millis(gone))
	w.awaitEnd(killed)

	const tokens = 8
	stopped.turn(t, fmt.Sprintf(`{"tokens":%d,"token_delay":"400ms"}`, tokens))
	answer := begin(t, stopped)
	began := time.Now()
	w.must("stop", stopped.signal(syscall.SIGTERM))
	gone = await(t, time.Second, frontends, keysOf(stays))
	t.Logf("stopped: gone from every /health within %v", millis(gone))
	if s, err := stopped.state(); err != nil || !s.running {
		t.Errorf("got %v, %v while a request is in flight, want it running until that is done", s, err)
	}
	if r, err := get(ask(), "http://"+stopped.where().addr(systemPort)+"/health"); err != nil || r.status != http.StatusServiceUnavailable {
		t.Errorf("got %d, %v from the status server of a worker that is stopping, want 503", r.status, err)
	}
	got, err := answer()
	if err != nil || got != tokens {
		t.Errorf("in-flight request: got %d tokens, %v; want all of %d", got, err, tokens)
	}
	finished := time.Since(began)
	s := w.awaitEnd(stopped)
	t.Logf("stopped: in-flight request finished after %v, process ended after %v", millis(finished), millis(time.Since(began)))
	if s.exitCode != 0 {
		t.Errorf("got exit code %d after SIGTERM, want 0", s.exitCode)
	}
	end(t, vigils...)
	sameLives()
}

// begin sends a request to the worker's engine and returns once the first token has come. The
// function that it returns reads the rest and returns how many tokens there were in an answer that
// ended as it should.
func begin(t *testing.T, w *worker) (rest func() (tokens int, err error)) {
	t.Helper()
	url := "http://" + w.where().addr(rpcPort) + "/v1/rpc/generate"
	response, err := (&http.Client{Timeout: settled}).Post(url, "application/json", strings.NewReader(`{"prompt":"hello"}`))
	if err != nil {
		t.Fatalf("request: %v", err)
	}
	t.Cleanup(func() { response.Body.Close() })
	lines := bufio.NewReader(response.Body)
	tokens, finish := 0, ""
	next := func() error {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return err
		}
		var chunk struct {
			Choices []struct {
				Text         string `json:"text"`
				FinishReason string `json:"finish_reason"`
			} `json:"choices"`
		}
		if err := json.Unmarshal(line, &chunk); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		for _, choice := range chunk.Choices {
			if choice.Text != "" {
				tokens++
			}
			finish += choice.FinishReason
		}
		return nil
	}
	if err := next(); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("first token: got %s, %v", response.Status, err)
	}
	return func() (int, error) {
		for {
			err := next()
			switch {
			case errors.Is(err, io.EOF) && finish == "":
				return tokens, errors.New("the answer ended without a finish_reason")
			case errors.Is(err, io.EOF):
				return tokens, nil
			case err != nil:
				return tokens, err
			}
		}
	}
}
