package worker

import (
	"net/http"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/worker/mocker"
)

// TestMockEngine: the mock engine is a handler as it is, and its refusals keep their status.
func TestMockEngine(t *testing.T) {
	engine, err := mocker.New(mocker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, local(), map[string]Handler{"generate": engine.Generate})
	const request = `{"prompt":"who is there?","max_tokens":3}`
	status, body := r.call("generate", request)
	if lines := strings.Split(strings.TrimSpace(body), "\n"); status != 200 || len(lines) != 3 ||
		!strings.Contains(lines[2], `"text":" knows","logprobs":null,"finish_reason":"length"`) {
		t.Errorf("got %d %s, want three chunks", status, body)
	}
	if status, body := r.call("generate", `{"prompt":"x","max_tokens":0}`); status != 400 || !strings.Contains(body, "max_tokens must be at least 1") {
		t.Errorf("a bad request: got %d %s", status, body)
	}
	if err := engine.SetKnobs(mocker.Knobs{ErrorStatus: http.StatusTooManyRequests}); err != nil {
		t.Fatal(err)
	}
	if status, body := r.call("generate", request); status != http.StatusTooManyRequests {
		t.Errorf("with a fault: got %d %s", status, body)
	}
	if err := engine.SetKnobs(mocker.Knobs{Drop: new(1)}); err != nil {
		t.Fatal(err)
	}
	if status, body, err := r.try("generate", request); status != 200 || err == nil || !strings.Contains(body, `{"error":`) {
		t.Errorf("dropped: got %d %s (%v), want a chunk, an error and a break", status, body, err)
	}
}
