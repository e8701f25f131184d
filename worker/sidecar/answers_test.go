package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/answers"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/mocker"
	"github.com/dynmesh/dynmesh/worker/quality"
)

// asked is a sidecar before a mock engine that a canary has passed at.
func asked(t *testing.T, model string) (*Sidecar, *mocker.Engine) {
	t.Helper()
	e, server, _ := runMock(t, model, mocker.DefaultAddr)
	s := runSidecar(t, Config{Backend: "http://" + server.Addr(), Engine: "auto"})
	testkit.Eventually(t, patience, "a canary passes", func() bool { return s.Probe()(t.Context()) == nil })
	return s, e
}

func TestAskHasPromptsAnswered(t *testing.T) {
	s, e := asked(t, "m")
	other, _ := asked(t, "m")
	setKnobs(t, e, mocker.Knobs{Tokens: answers.MaxTokens})
	revision, err := s.Prompter().Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if same, err := other.Prompter().Revision(t.Context()); err != nil || same != revision {
		t.Errorf("got revisions %x and %x (%v) of two that are alike", revision, same, err)
	}
	first, err := s.Prompter().Ask(t.Context(), 0)
	if err != nil || len(first.Tokens) != answers.MaxTokens || first.Logprob != -10 || first.Ties != 0 || first.Flaws != 0 {
		t.Fatalf("got %+v (%v), want 24 tokens with the mock's logprobs", first, err)
	}
	if again, err := s.Prompter().Ask(t.Context(), 0); err != nil || string(again.Tokens) != string(first.Tokens) {
		t.Errorf("got %+v (%v), want the same answer again", again, err)
	}
	setKnobs(t, e, mocker.Knobs{Tokens: answers.MaxTokens, Wrong: 1})
	if wrong, err := s.Prompter().Ask(t.Context(), 0); err != nil || string(wrong.Tokens) == string(first.Tokens) {
		t.Errorf("got %+v (%v), want another answer", wrong, err)
	}
	setKnobs(t, e, mocker.Knobs{Tokens: answers.MaxTokens, Repeat: new(0)})
	if over, err := s.Prompter().Ask(t.Context(), 0); err != nil || over.Flaws != answers.Repeats {
		t.Errorf("got %+v (%v), want one token over and over", over, err)
	}
	testkit.Eventually(t, patience, "the engine's tokens are counted", func() bool {
		tokens, corrupted := s.Prompter().Made()
		return tokens >= 4*answers.MaxTokens && corrupted == 0
	})
	third, _ := asked(t, "another")
	if another, err := third.Prompter().Revision(t.Context()); err != nil || another == revision {
		t.Errorf("got revision %x (%v) of another model, want another", another, err)
	}
}

// TestAskIsAlone: a canary breaks it off, and it does not begin beside one.
func TestAskIsAlone(t *testing.T) {
	s, e := asked(t, "m")
	setKnobs(t, e, mocker.Knobs{FirstTokenDelay: time.Hour})
	ended := make(chan error, 1)
	go func() {
		_, err := s.Prompter().Ask(t.Context(), 0)
		ended <- err
	}()
	testkit.Eventually(t, patience, "the engine is asked", func() bool { return e.InFlight() == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	canaryEnded := make(chan struct{})
	go func() {
		defer close(canaryEnded)
		_ = s.Probe()(ctx) // it is cancelled
	}()
	if err := <-ended; !errors.Is(err, quality.ErrBrokenOff) {
		t.Errorf("beside a canary: got %v, want that it is broken off", err)
	}
	if _, err := s.Prompter().Ask(t.Context(), 0); !errors.Is(err, quality.ErrNotNow) || errors.Is(err, quality.ErrBrokenOff) {
		t.Errorf("while a canary is sent: got %v, want not now", err)
	}
	cancel()
	<-canaryEnded
	setKnobs(t, e, mocker.Knobs{})
	if _, err := s.Prompter().Ask(t.Context(), 0); err != nil {
		t.Errorf("after the canary: %v", err)
	}
}

// A pair's request is judged as a canary is: what is the engine's own is a failure, and else
// nothing is known. A canary waits for it no more than for a prompt, and does not end it.
func TestAnswer(t *testing.T) {
	s, e := asked(t, "m")
	if name, ok := s.Prompter().Model(t.Context()); !ok || name != "m" {
		t.Errorf("its model is %q, %v", name, ok)
	}
	for _, tt := range []struct {
		name  string
		knobs mocker.Knobs
		want  dynmesh.Reason // empty: no failure
		says  string         // empty: no error at all
	}{
		{"answered", mocker.Knobs{}, "", ""},
		{"failed", mocker.Knobs{ErrorStatus: 500}, dynmesh.ReasonStatus, "status 500"},
		{"the request is at fault", mocker.Knobs{ErrorStatus: 400}, "", "status 400"},
		{"busy", mocker.Knobs{ErrorStatus: 429}, "", "429"},
		{"late", mocker.Knobs{Freeze: new(0)}, dynmesh.ReasonTimeout, "timeout"},
	} {
		setKnobs(t, e, tt.knobs)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if tt.want == dynmesh.ReasonTimeout {
			ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		}
		err := s.Prompter().Answer(ctx, "/v1/completions", []byte(`{"prompt":"x","max_tokens":2}`))
		cancel()
		failure, isFailure := errors.AsType[*dynmesh.Failure](err)
		switch {
		case (err != nil) != (tt.says != ""), err != nil && !strings.Contains(err.Error(), tt.says):
			t.Errorf("%s: got %v, want …%s…", tt.name, err, tt.says)
		case isFailure != (tt.want != ""), isFailure && failure.Reason != tt.want:
			t.Errorf("%s: got %#v, want %q", tt.name, err, tt.want)
		}
		testkit.Eventually(t, patience, "it is over", func() bool { return e.InFlight() == 0 })
	}
	setKnobs(t, e, mocker.Knobs{FirstTokenDelay: time.Hour})
	ended := make(chan error, 1)
	go func() { ended <- s.Prompter().Answer(t.Context(), "/v1/completions", []byte(`{"prompt":"x"}`)) }()
	testkit.Eventually(t, patience, "the engine is asked", func() bool { return e.InFlight() == 1 })
	if _, err := s.Prompter().Ask(t.Context(), 0); !errors.Is(err, quality.ErrNotNow) {
		t.Errorf("a prompt beside it: got %v, want not now", err)
	}
	canaryEnded := make(chan error, 1)
	go func() { canaryEnded <- s.Probe()(t.Context()) }()
	testkit.Eventually(t, patience, "a canary comes", func() bool { return e.InFlight() == 2 })
	setKnobs(t, e, mocker.Knobs{})
	if err := <-ended; err != nil {
		t.Errorf("beside a canary: %v", err)
	}
	if err := <-canaryEnded; err != nil {
		t.Errorf("the canary: %v", err)
	}
	setKnobs(t, e, mocker.Knobs{Refuse: true})
	testkit.Eventually(t, patience, "nobody listens", func() bool { return reason(check(t, s)) == dynmesh.ReasonRefused })
	err := s.Prompter().Answer(t.Context(), "/v1/completions", []byte(`{"prompt":"x"}`))
	if _, isFailure := errors.AsType[*dynmesh.Failure](err); isFailure || err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens: got %v, want that it was refused, which is no failure of a pair", err)
	}
}

func TestAskOfEnginesThatDiffer(t *testing.T) {
	const whole = `{"choices":[{"text":" Paris","finish_reason":"length"}]}`
	for _, tt := range []struct {
		name    string
		answers map[string]string
		tokens  int
		err     string
		notNow  bool
	}{
		{"one that refuses, whatever is wanted", map[string]string{
			"GET /v1/models": models("vllm"), "POST /v1/completions": "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\r\n{\"error\":{\"message\":\"logprobs are not supported\"}}",
		}, 0, "logprobs are not supported", false},
		{"one that sleeps", map[string]string{
			"GET /v1/models": models("vllm"), "GET /is_sleeping": `{"is_sleeping":true}`, "POST /v1/completions": whole,
		}, 0, "rests", true},
		{"one that embeds", map[string]string{
			"GET /v1/models": models("vllm"), "GET /openapi.json": `{"paths":{"/v1/embeddings":{}}}`, "POST /v1/embeddings": embedding,
		}, 0, "no text to compare", false},
		{"one that answers nonsense", map[string]string{"GET /v1/models": models("vllm"), "POST /v1/completions": `{"x":1}`}, 0, "no answer in a form that is known", false},
		{"one that fails", map[string]string{"GET /v1/models": models("vllm"), "POST /v1/completions": "HTTP/1.1 500 Internal Server Error\r\n\r\nno"}, 0, "status 500", false},
		{"one without logprobs", map[string]string{"GET /v1/models": models("vllm"), "POST /v1/completions": whole}, 1, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ready := map[string]string{"GET /v1/models": tt.answers["GET /v1/models"], "GET /openapi.json": tt.answers["GET /openapi.json"], "POST /v1/completions": completed, "POST /v1/embeddings": embedding, "GET /is_sleeping": `{"is_sleeping":false}`}
			if ready["GET /openapi.json"] == "" {
				ready["GET /openapi.json"] = `{"paths":{"/v1/completions":{}}}`
			}
			f := &fake{answers: ready}
			s := newSidecar(t, Config{Backend: f.serve(t), Engine: "auto"})
			if err := s.Probe()(t.Context()); err != nil {
				t.Fatalf("its canary: %v", err)
			}
			for line, answer := range tt.answers {
				f.set(line, answer)
			}
			sample, err := s.Prompter().Ask(t.Context(), 2)
			if tt.err == "" && (err != nil || len(sample.Tokens) != tt.tokens) {
				t.Errorf("got %+v (%v), want %d tokens", sample, err, tt.tokens)
			}
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err) || errors.Is(err, quality.ErrNotNow) != tt.notNow) {
				t.Errorf("got %v, want an error with %q, not now: %v", err, tt.err, tt.notNow)
			}
		})
	}
}

// picky is an engine whose answers depend on whether logprobs are wanted.
type picky struct {
	mu            sync.Mutex
	with, without string // an answer's status and body
	asked         int    // with logprobs, since then
}

func (p *picky) set(with, without string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.with, p.without, p.asked = with, without, 0
}

func (p *picky) askedWith() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// ServeHTTP answers canaries, which are streamed, in any case.
func (p *picky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	body, _ := io.ReadAll(r.Body) // what is missing is no JSON
	var wanted struct {
		Stream   bool
		Logprobs any
	}
	_ = json.Unmarshal(body, &wanted) // of a GET there is none
	answer := "404 {}"
	switch {
	case r.URL.Path == "/v1/models":
		answer = "200 " + models("vllm")
	case r.URL.Path == "/openapi.json":
		answer = `200 {"paths":{"/v1/completions":{}}}`
	case r.URL.Path != "/v1/completions":
	case wanted.Stream:
		w.Header().Set("Content-Type", "text/event-stream")
		_, answer, _ = strings.Cut(completed, "\r\n\r\n")
		answer = "200 " + answer
	case wanted.Logprobs != nil:
		p.asked++
		answer = p.with
	default:
		answer = p.without
	}
	status, text, _ := strings.Cut(answer, " ")
	code, _ := strconv.Atoi(status) // the test's own
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text)
}

// TestAskWithoutLogprobs: an engine that answers only without them is asked without, and its
// answers are those of another revision. What it refuses for another reason says nothing of them.
func TestAskWithoutLogprobs(t *testing.T) {
	const (
		plain = `200 {"choices":[{"text":" Paris"}]}`
		whole = `200 {"choices":[{"text":" Paris","logprobs":{"tokens":[" Pa","ris"],"token_logprobs":[-0.1,-0.1],"top_logprobs":[{},{}]}}]}`
	)
	f := &picky{with: whole, without: plain}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	s := newSidecar(t, Config{Backend: server.URL, Engine: "auto"})
	if err := s.Probe()(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, err := s.Prompter().Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ with, without string }{
		{"401 another key", "401 another key"}, {"404 no such model", "404 no such model"}, {"400 no", "503 loading"}, {"422 no", "429 later"},
		{"429 later", plain}, {"408 later", plain}, {"500 no", plain},
	} {
		f.set(tt.with, tt.without)
		if _, err := s.Prompter().Ask(t.Context(), 0); err == nil || errors.Is(err, quality.ErrNotNow) || !strings.Contains(err.Error(), tt.with[:3]) {
			t.Errorf("%s, then %s: got %v, want a failure", tt.with, tt.without, err)
		}
		f.set(whole, plain)
		if sample, err := s.Prompter().Ask(t.Context(), 0); err != nil || len(sample.Tokens) != 2 {
			t.Errorf("after %s, then %s: got %+v (%v), want an answer with logprobs", tt.with, tt.without, sample, err)
		}
	}
	if same, err := s.Prompter().Revision(t.Context()); err != nil || same != before {
		t.Errorf("got revision %x, then %x (%v), want the same", before, same, err)
	}

	f.set("403 You are not allowed to request logprobs from this model", plain)
	if _, err := s.Prompter().Ask(t.Context(), 0); !errors.Is(err, quality.ErrNotNow) || !strings.Contains(err.Error(), "not allowed to request logprobs") {
		t.Fatalf("got %v, want that it is asked again", err)
	}
	after, err := s.Prompter().Revision(t.Context())
	if err != nil || after == before {
		t.Errorf("got revision %x, then %x (%v), want another", before, after, err)
	}
	f.set(whole, plain)
	if sample, err := s.Prompter().Ask(t.Context(), 0); err != nil || len(sample.Tokens) != 1 || f.askedWith() > 0 {
		t.Errorf("got %+v (%v), want an answer without logprobs", sample, err)
	}
	f.set("400 no", "400 no")
	if _, err := s.Prompter().Ask(t.Context(), 0); err == nil || errors.Is(err, quality.ErrNotNow) {
		t.Errorf("got %v, want a failure: there is nothing left to leave out", err)
	}
}

// TestRevisionOfOneThatDoesNotSay: what an engine did not answer once is asked for again, and is no
// part of what it is told apart by.
func TestRevisionOfOneThatDoesNotSay(t *testing.T) {
	f := &fake{answers: map[string]string{"GET /v1/models": models("vllm"), "GET /openapi.json": `{"paths":{"/v1/completions":{}}}`, "POST /v1/completions": completed}}
	s := newSidecar(t, Config{Backend: f.serve(t), Engine: "auto"})
	if err := s.Probe()(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.set("GET /version", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
	if r, err := s.Prompter().Revision(t.Context()); err == nil || errors.Is(err, quality.ErrNotNow) {
		t.Errorf("got revision %x (%v), want an error", r, err)
	}
	f.set("GET /version", `{"version":"1"}`)
	if _, err := s.Prompter().Revision(t.Context()); err != nil {
		t.Errorf("when it does: %v", err)
	}
}

func TestAskBeforeItIsKnownWhatIsServed(t *testing.T) {
	s := newSidecar(t, Config{Backend: "http://127.0.0.1:1", Engine: "auto"})
	if _, err := s.Prompter().Revision(t.Context()); !errors.Is(err, quality.ErrNotNow) {
		t.Errorf("got %v, want not now", err)
	}
}
