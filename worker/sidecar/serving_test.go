package sidecar

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// fake is an engine made of answers, by "METHOD /path". What it does not have is FastAPI's 404.
type fake struct {
	mu      sync.Mutex
	answers map[string]string
	asked   []string
}

func (f *fake) serve(t *testing.T) string {
	return answering(t, func(request string) string {
		f.mu.Lock()
		defer f.mu.Unlock()
		line, _, _ := strings.Cut(request, " HTTP/1.1")
		f.asked = append(f.asked, line)
		if answer, ok := f.answers[line]; ok {
			if !strings.HasPrefix(answer, "HTTP/1.1 ") {
				answer = docHead + answer
			}
			return answer
		}
		return "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\r\n{\"detail\":\"Not Found\"}"
	})
}

func (f *fake) set(line, answer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[line] = answer
}

func (f *fake) count(line string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.asked {
		if l == line {
			n++
		}
	}
	return n
}

const (
	completed = sseHead + "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n"
	embedding = `{"data":[{"embedding":[0.5]}]}`
	oneModel  = `{"object":"list","data":[{"id":"m","owned_by":"OWNER"}]}`
)

func models(owner string) string { return strings.Replace(oneModel, "OWNER", owner, 1) }

// The engine is found out, and is asked for what it serves.
func TestAuto(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers map[string]string
		engine  string
		kind    string
	}{
		{"vllm", map[string]string{"GET /v1/models": models("vllm"), "POST /v1/completions": completed}, "vllm", "completions"},
		{"vllm that embeds, by its routes", map[string]string{
			"GET /v1/models": models("vllm"), "GET /openapi.json": `{"paths":{"/v1/embeddings":{}}}`, "POST /v1/embeddings": embedding}, "vllm", "embeddings"},
		{"vllm that ranks, by what it refuses", map[string]string{
			"GET /v1/models":             models("vllm"),
			"POST /v1/completions":       "HTTP/1.1 400 Bad Request\r\n\r\n" + `{"object":"error","message":"The model does not support Completions API"}`,
			"POST /v1/chat/completions":  "HTTP/1.1 400 Bad Request\r\n\r\n" + `{"object":"error","message":"The model does not support Chat Completions API"}`,
			"POST /v1/embeddings":        "HTTP/1.1 400 Bad Request\r\n\r\n" + `{"object":"error","message":"The model does not support Embeddings API"}`,
			"POST /v1/rerank":            `{"results":[{"index":0,"relevance_score":1}]}`,
			"GET /something/else/at/all": "",
		}, "vllm", "rerank"},
		{"sglang", map[string]string{"GET /v1/models": models("sglang"), "GET /model_info": `{"is_generation":true}`,
			"POST /generate": sseHead + "data: {\"text\":\"a\",\"meta_info\":{\"finish_reason\":{\"type\":\"length\"}}}\n\ndata: [DONE]\n\n"}, "sglang", "generate"},
		{"tei", map[string]string{"GET /info": `{"model_type":{"reranker":{}},"max_client_batch_size":32}`, "POST /rerank": `[{"index":0,"score":0.9}]`}, "tei", "rerank"},
		{"triton", map[string]string{"GET /v2": `{"name":"triton"}`, "GET /v2/health/ready": "HTTP/1.1 200 OK\r\n\r\n",
			"GET /v2/models/m": `{"inputs":[{"name":"A","datatype":"FP32","shape":[1]}]}`, "POST /v2/models/m/infer": `{"outputs":[{"name":"B"}]}`}, "triton", "infer"},
		{"ollama", map[string]string{"GET /": "Ollama is running", "GET /v1/models": models("library"), "GET /api/ps": `{"models":[{"name":"m","expires_at":"2318-01-01T00:00:00Z"}]}`,
			"POST /v1/completions": "HTTP/1.1 400 Bad Request\r\n\r\n" + `{"error":{"message":"\"m\" does not support generate"}}`, "POST /v1/chat/completions": "HTTP/1.1 400 Bad Request\r\n\r\n" + `{"error":{"message":"\"m\" does not support chat"}}`,
			"POST /v1/embeddings": embedding}, "ollama", "embeddings"},
		{"somebody who chats only", map[string]string{"GET /v1/models": models("me"), "POST /v1/chat/completions": `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}`}, "openai", "chat"},
	} {
		f := &fake{answers: tt.answers}
		cfg := Config{Backend: f.serve(t), Engine: "auto"}
		if tt.engine == "triton" {
			cfg.Model = "m"
		}
		s := newSidecar(t, cfg)
		for range 3 {
			if got := check(t, s); got.Failure != nil || got.Unasked != "" {
				t.Errorf("%s: got %v, %q (asked for %q)", tt.name, got.Failure, got.Unasked, f.asked)
			}
		}
		if s.Engine() != tt.engine || s.Kind() != tt.kind {
			t.Errorf("%s: got engine %s and kind %s, want %s and %s", tt.name, s.Engine(), s.Kind(), tt.engine, tt.kind)
		}
		for line := range tt.answers { // what it refuses is asked for once
			if n := f.count(line); n > 3 {
				t.Errorf("%s: %s was asked for %d times", tt.name, line, n)
			}
		}
	}
}

// What serves nothing that a canary could ask for is left alone; what shows nothing of an engine,
// and what broke, is not.
func TestNothingToAskFor(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers map[string]string
		want    string
	}{
		{"it transcribes", map[string]string{"GET /v1/models": models("vllm"), "GET /openapi.json": `{"paths":{"/v1/audio/transcriptions":{}}}`}, "nothing that it serves can be asked for by a canary"},
		{"it lists no model", map[string]string{"GET /v1/models": `{"object":"list","data":[]}`}, "it lists no model"},
		{"it refuses everything", map[string]string{"GET /v1/models": models("me")}, "it refuses all requests that a canary can be: "},
		{"a web server", map[string]string{}, "status"},
		{"it has another model", map[string]string{"GET /v1/models": models("vllm"), "POST /v1/completions": "HTTP/1.1 404 Not Found\r\n\r\n" + `{"error":{"message":"The model does not exist."}}`}, "status"},
		{"its routes are there and fail", map[string]string{"GET /v1/models": models("vllm"), "POST /v1/completions": "HTTP/1.1 500 Internal Server Error\r\n\r\n"}, "status"},
	} {
		f := &fake{answers: tt.answers}
		got := check(t, newSidecar(t, Config{Backend: f.serve(t), Engine: "auto"}))
		said := got.Unasked
		if got.Failure != nil {
			said = string(got.Failure.Reason)
		}
		if !strings.HasPrefix(said, tt.want) {
			t.Errorf("%s: got %q (%v), want %q", tt.name, said, got.Failure, tt.want)
		}
	}
}

// A kind that has passed is not given up when it is refused later: that is a failure.
func TestKindThatPassedFails(t *testing.T) {
	f := &fake{answers: map[string]string{"GET /v1/models": models("vllm"), "POST /v1/completions": completed, "POST /v1/chat/completions": completed}}
	s := newSidecar(t, Config{Backend: f.serve(t)})
	if got := check(t, s); got.Failure != nil {
		t.Fatal(got.Failure)
	}
	f.set("POST /v1/completions", "HTTP/1.1 404 Not Found\r\n\r\n")
	if got := check(t, s); reason(got) != dynmesh.ReasonStatus || f.count("POST /v1/chat/completions") > 0 {
		t.Errorf("got %v, want a failure", got.Failure)
	}
}

// Who sleeps is left alone, unless it is to be woken; who does not wake up for requests is not
// ready.
func TestSleepingEngines(t *testing.T) {
	llama := map[string]string{"GET /v1/models": models("llamacpp"), "GET /props": `{"is_sleeping":true}`,
		"POST /v1/completions": completed, "POST /v1/rerank": "HTTP/1.1 501 Not Implemented\r\n\r\n", "POST /v1/embeddings": "HTTP/1.1 501 Not Implemented\r\n\r\n"}
	f := &fake{answers: llama}
	url := f.serve(t)
	s := newSidecar(t, Config{Backend: url, Engine: "auto"})
	if got := check(t, s); got.Unasked != "it sleeps until its next request" || f.count("POST /v1/completions") > 0 {
		t.Errorf("got %q, %v", got.Unasked, got.Failure)
	}
	if got := check(t, newSidecar(t, Config{Backend: url, Wake: true})); got.Failure != nil || got.Unasked != "" {
		t.Errorf("to be woken: got %q, %v, want a pass", got.Unasked, got.Failure)
	}
	f.set("GET /props", `{"is_sleeping":false}`)
	if got := check(t, s); got.Failure != nil || got.Unasked != "" {
		t.Errorf("awake: got %q, %v, want a pass", got.Unasked, got.Failure)
	}
	// It may fall asleep again, which each canary would put off.
	if got := check(t, s); !strings.HasPrefix(got.Unasked, "it may fall asleep again") {
		t.Errorf("idle: got %q, %v, want it to be left alone", got.Unasked, got.Failure)
	}
	s.Activity(func() canary.Activity { return canary.Activity{Progress: 1} })()
	if got := check(t, s); got.Failure != nil || got.Unasked != "" {
		t.Errorf("after a request: got %q, %v, want a pass", got.Unasked, got.Failure)
	}
	if got := check(t, s); got.Unasked == "" {
		t.Errorf("idle again: got %v, want it to be left alone", got.Failure)
	}

	f = &fake{answers: map[string]string{"GET /v1/models": models("vllm"), "GET /is_sleeping": `{"is_sleeping":true}`, "POST /v1/completions": completed}}
	for _, wake := range []bool{false, true} {
		if got := check(t, newSidecar(t, Config{Backend: f.serve(t), Wake: wake})); reason(got) != dynmesh.ReasonAsleep || f.count("POST /v1/completions") > 0 {
			t.Errorf("vLLM, wake %v: got %v, want %s", wake, got.Failure, dynmesh.ReasonAsleep)
		}
	}
}

// A route that is not there is not asked for time and again: engines log it.
func TestAbsentRoutesAreLeftAlone(t *testing.T) {
	f := &fake{answers: map[string]string{"GET /v1/models": models("vllm"), "POST /v1/completions": completed}}
	s := newSidecar(t, Config{Backend: f.serve(t)})
	for range 5 {
		if got := check(t, s); got.Failure != nil {
			t.Fatal(got.Failure)
		}
	}
	if n := f.count("GET /is_sleeping"); n != 1 {
		t.Errorf("/is_sleeping was asked for %d times, want once", n)
	}
}

// What it serves is asked for once, and not with each look whether it is there.
func TestKindsAreAskedForOnce(t *testing.T) {
	f := &fake{answers: map[string]string{"GET /v1/models": models("vllm"), "GET /openapi.json": `{"paths":{"/v1/completions":{}}}`}}
	runSidecar(t, Config{Backend: f.serve(t), Engine: "auto"})
	testkit.Eventually(t, patience, "five looks", func() bool { return f.count("GET /v1/models") >= 5 })
	if n := f.count("GET /openapi.json"); n != 1 {
		t.Errorf("/openapi.json was asked for %d times, want once", n)
	}
}

// A canary of one's own.
func TestOwnCanary(t *testing.T) {
	f := &fake{answers: map[string]string{
		"GET /healthz":           "HTTP/1.1 200 OK\r\n\r\nall well",
		"POST /speak":            `{"audio":"UklGRg=="}`,
		"POST /v1/embeddings":    `{"data":[]}`,
		"POST /v1/audio/speech":  "HTTP/1.1 404 Not Found\r\n\r\n",
		"POST /v1/completions":   completed,
		"GET /some/path?a=b%20c": "HTTP/1.1 200 OK\r\n\r\n",
	}}
	url := f.serve(t)
	for _, tt := range []struct {
		name string
		cfg  Config
		want dynmesh.Reason
	}{
		{"a path", Config{Engine: "custom", Path: "/healthz"}, ""},
		{"a path, and a query", Config{Engine: "custom", Path: "/some/path?a=b%20c"}, ""},
		{"what must be in it", Config{Engine: "custom", Path: "/healthz", Expect: "well"}, ""},
		{"what must be in it, and is not", Config{Engine: "custom", Path: "/healthz", Expect: "ill"}, dynmesh.ReasonUnexpected},
		{"a path and a payload", Config{Engine: "custom", Path: "/speak", Payload: json.RawMessage(`{"text":"x"}`), Expect: `"audio"`}, ""},
		{"of a known kind, which is judged as such", Config{Engine: "custom", Path: "/v1/embeddings", Payload: json.RawMessage(`{"input":"x"}`)}, dynmesh.ReasonEmpty},
		{"that the engine does not have", Config{Engine: "custom", Path: "/v1/audio/speech", Payload: json.RawMessage(`{}`)}, dynmesh.ReasonStatus},
		{"a payload that names its model", Config{Engine: "vllm", Payload: json.RawMessage(`{"model":"m","prompt":"x"}`)}, ""},
		{"a kind", Config{Engine: "vllm", Model: "m", Kind: "embeddings"}, dynmesh.ReasonEmpty},
		{"a kind that the engine does not have", Config{Engine: "vllm", Model: "m", Kind: "score"}, dynmesh.ReasonStatus},
	} {
		tt.cfg.Backend = url
		var got canary.Result
		if got = check(t, newSidecar(t, tt.cfg)); reason(got) != tt.want || got.Unasked != "" {
			t.Errorf("%s: got %v, %q, want %q", tt.name, got.Failure, got.Unasked, tt.want)
		}
	}
}
