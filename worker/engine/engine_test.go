package engine

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/canary/kind"
)

// find returns an engine that there is.
func find(t *testing.T, name string) Engine {
	t.Helper()
	e, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// server answers asks by their paths; what it does not have is 404.
func server(answers map[string]string) Ask {
	return func(path string) Answer {
		if body, ok := answers[path]; ok {
			return Answer{Status: 200, Server: answers["Server"], Body: []byte(body)}
		}
		return Answer{Status: 404, Server: answers["Server"], Body: []byte(`{"detail":"Not Found"}`)}
	}
}

// What is sent to each engine that says nothing of what it serves.
func TestCanaries(t *testing.T) {
	for _, tt := range []struct{ engine, model, path, body string }{
		{"vllm", `Qwen/"3"`, "/v1/completions", `{"model":"Qwen/\"3\"","prompt":[1],"temperature":0,"max_tokens":1,"stream":true,"stream_options":{"include_usage":true}}`},
		{"vllm", "", "/v1/completions", `{"prompt":[1],"temperature":0,"max_tokens":1,"stream":true,"stream_options":{"include_usage":true}}`},
		{"sglang", "m", "/generate", `{"input_ids":[0],"sampling_params":{"temperature":0,"max_new_tokens":1},"stream":true}`},
		{"sglang", "", "/generate", `{"input_ids":[0],"sampling_params":{"temperature":0,"max_new_tokens":1},"stream":true}`},
		{"trtllm", "m", "/v1/completions", `{"model":"m","prompt":"Test","temperature":0,"max_tokens":1,"stream":true,"stream_options":{"include_usage":true}}`},
		{"llamacpp", "m", "/v1/rerank", `{"model":"m","query":"Test","documents":["Test"]}`},
		{"ollama", "m", "/v1/completions", `{"model":"m","prompt":"Test","temperature":0,"max_tokens":1,"stream":true}`},
		{"openai", "{model}", "/v1/completions", `{"model":"{model}","prompt":"Test","temperature":0,"max_tokens":1,"stream":true}`},
		{"tei", "", "/v1/embeddings", `{"input":"Test"}`},
		{"triton", "a b/c", "/v2/models/a%20b%2Fc/generate_stream",
			`{"text_input":"Test","max_tokens":1,"temperature":0,"bad_words":"","stop_words":"","stream":true}`},
	} {
		kinds, err := find(t, tt.engine).Kinds(server(nil), tt.model)
		if err != nil || len(kinds) == 0 {
			t.Errorf("%s: got %v, %v", tt.engine, kinds, err)
			continue
		}
		path, body, err := kinds[0].Request(tt.model)
		if err != nil || path != tt.path || string(body) != tt.body || !json.Valid(body) {
			t.Errorf("%s, %q: got %s %s, %v, want %s %s", tt.engine, tt.model, path, body, err, tt.path, tt.body)
		}
	}
}

func TestFind(t *testing.T) {
	if got := strings.Join(Names(), " "); got != "auto vllm sglang trtllm llamacpp triton tei ollama openai custom" {
		t.Errorf("engines: got %s", got)
	}
	for _, name := range []string{"auto", "", "VLLM"} {
		if _, err := Find(name); err == nil || !strings.Contains(err.Error(), "want one of auto, vllm, sglang, trtllm, llamacpp") {
			t.Errorf("%q: got %v, want an error that lists those there are", name, err)
		}
	}
	if e := find(t, Custom); e.Ready != "" || len(e.kinds) > 0 {
		t.Errorf("got %+v, want nothing to be known of it", e)
	}
}

// What each engine's file has to say.
func TestEngines(t *testing.T) {
	for _, e := range all() {
		if e.Name == "" || e.Ready == "" || len(e.kinds) == 0 || e.Name != "openai" && e.owner == "" && e.isIt == nil {
			t.Errorf("engine %s: got %+v, want all of it", e.Name, e)
		}
		if (e.Counters.Path == "") != (len(e.Counters.Series) == 0) {
			t.Errorf("engine %s: its counters are at %q, and there are %d", e.Name, e.Counters.Path, len(e.Counters.Series))
		}
		if want := []string{"sglang", "trtllm"}; e.Counters.Stepwise != slices.Contains(want, e.Name) {
			t.Errorf("engine %s: got Stepwise %v, want that of %v only", e.Name, e.Counters.Stepwise, want)
		}
		if want := []string{"vllm", "sglang", "trtllm", "llamacpp"}; slices.Contains(want, e.Name) !=
			slices.ContainsFunc(e.Counters.Series, func(s Series) bool { return s.InPrefill && !strings.HasPrefix(s.Name, "vllm:") || e.Name == "vllm" }) {
			t.Errorf("engine %s: want counters that move within a prefill of %v only", e.Name, want)
		}
	}
}

func TestPaths(t *testing.T) {
	for _, tt := range []struct{ engine, request, want string }{
		{"vllm", `{"prompt":"x"}`, "/v1/completions"},
		{"vllm", `{"messages":[]}`, "/v1/chat/completions"},
		{"vllm", `{"messages":null,"prompt":"x"}`, "/v1/completions"},
		{"vllm", `{"input":"x"}`, "/v1/embeddings"},
		{"vllm", `{"query":"x","documents":["y"]}`, "/v1/rerank"},
		{"vllm", `{"text_1":"x","text_2":"y"}`, "/v1/score"},
		{"vllm", `{"instructions":"x"}`, "/v1/responses"},
		{"vllm", `{"text":"x"}`, "/v1/completions"},
		{"vllm", `{"a":{"messages":[]}}`, "/v1/completions"},
		{"vllm", `{"messages":[],"messages":null}`, "/v1/completions"},
		{"trtllm", `{"messages":[]}`, "/v1/chat/completions"},
		{"openai", `{"messages":[]}`, "/v1/chat/completions"},
		{"sglang", `{"text":"x"}`, "/generate"},
		{"sglang", `{"input_ids":[1]}`, "/generate"},
		{"sglang", `{"prompt":"x"}`, "/v1/completions"},
		{"sglang", `{"messages":[]}`, "/v1/chat/completions"},
		{"llamacpp", `{"messages":[]}`, "/v1/chat/completions"},
		{"tei", `{"query":"x","texts":["y"]}`, "/rerank"},
		{"triton", `{"text_input":"x"}`, "/v2/models/a%2Fb%20c/generate_stream"},
		{"triton", `{"inputs":[]}`, "/v2/models/a%2Fb%20c/infer"},
		{"custom", `{"prompt":"x"}`, "/v1/completions"},
	} {
		k := find(t, tt.engine).Kind(json.RawMessage(tt.request)).WithPayload(json.RawMessage(tt.request))
		path, body, err := k.Request("a/b c")
		if path != tt.want || string(body) != tt.request || err != nil {
			t.Errorf("%s %s: got %s %s, %v, want %s", tt.engine, tt.request, path, body, err, tt.want)
		}
	}
}

func TestCountersURL(t *testing.T) {
	root, err := url.Parse("http://[::1]:8000/x")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"triton":   "http://[::1]:8002/metrics",
		"trtllm":   "http://[::1]:8000/x/prometheus/metrics",
		"llamacpp": "http://[::1]:8000/x/metrics?model=a%26b+c&autoload=false",
	} {
		if got := find(t, name).Counters.URL(root, "a&b c"); got != want {
			t.Errorf("%s's metrics: got %s, want %s", name, got, want)
		}
	}
}

// Errors in forms of an engine's own.
func TestErrorIn(t *testing.T) {
	for _, tt := range []struct{ engine, chunk, want string }{
		{"sglang", `{"text":"","meta_info":{"finish_reason":{"type":"abort","message":"no"}}}`, "finish reason abort: no"},
		{"sglang", `{"text":"a","meta_info":{"finish_reason":{"type":"length","length":1}}}`, ""},
		{"sglang", `{"text":"a","meta_info":{"finish_reason":null}}`, ""},
		{"vllm", `{"object":"error","message":"no","code":500}`, "no"},
		{"vllm", `{"object":"text_completion"}`, ""},
		{"vllm", `[`, ""},
		{"openai", `{"object":"error"}`, ""},
	} {
		if got := find(t, tt.engine).ErrorIn([]byte(tt.chunk)); got != tt.want {
			t.Errorf("%s %s: got %q, want %q", tt.engine, tt.chunk, got, tt.want)
		}
	}
}

// One literal is all that a new engine takes.
func TestNewEngine(t *testing.T) {
	generate := kind.Kind{Name: "generate", Path: "/generate_stream", Fields: []string{"inputs"}, Body: `{"inputs":"Test","parameters":{"max_new_tokens":1}}`}
	tgi := Engine{
		Name: "tgi", Ready: "/health", kinds: []kind.Kind{generate, kind.Chat()},
		Counters: Counters{Path: "/metrics", Series: []Series{{Counts: InFlight, Name: "tgi_queue_size"}}},
	}
	kinds, err := tgi.Kinds(server(nil), "")
	if err != nil || kinds[0].Path != "/generate_stream" {
		t.Errorf("got %+v, %v", kinds, err)
	}
	if got := tgi.Kind(json.RawMessage(`{"messages":[]}`)).Path; got != "/v1/chat/completions" {
		t.Errorf("a chat goes to %s", got)
	}
	scrape, err := tgi.Counters.Reader("").Read(strings.NewReader("tgi_queue_size 3\n"))
	if err != nil || scrape.Totals[InFlight] != 3 {
		t.Errorf("got %v, %v, want 3 in flight", scrape, err)
	}
}
