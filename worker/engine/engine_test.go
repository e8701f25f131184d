package engine

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
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

func TestCanaries(t *testing.T) {
	for _, tt := range []struct{ engine, model, path, body string }{
		{"vllm", `Qwen/"3"`, "/v1/completions", `{"model":"Qwen/\"3\"","prompt":[1],"temperature":0,"max_tokens":1,"stream":true}`},
		{"vllm", "", "/v1/completions", `{"prompt":[1],"temperature":0,"max_tokens":1,"stream":true}`},
		{"sglang", "m", "/generate", `{"input_ids":[0],"sampling_params":{"temperature":0,"max_new_tokens":1},"stream":true}`},
		{"sglang", "", "/generate", `{"input_ids":[0],"sampling_params":{"temperature":0,"max_new_tokens":1},"stream":true}`},
		{"trtllm", "m", "/v1/completions", `{"model":"m","prompt":"Test","temperature":0,"max_tokens":1,"stream":true}`},
		{"openai", "{model}", "/v1/completions", `{"model":"{model}","prompt":"Test","temperature":0,"max_tokens":1,"stream":true}`},
		{"triton", "a b/c", "/v2/models/a%20b%2Fc/generate_stream",
			`{"text_input":"Test","max_tokens":1,"temperature":0,"bad_words":"","stop_words":"","stream":true}`},
	} {
		e := find(t, tt.engine)
		body, err := e.Canary(tt.model)
		if err != nil || string(body) != tt.body || !json.Valid(body) {
			t.Errorf("%s, %q: got %s, %v, want %s", tt.engine, tt.model, body, err, tt.body)
		}
		if got := e.Path(body, tt.model); got != tt.path {
			t.Errorf("%s, %q: the canary goes to %s, want %s", tt.engine, tt.model, got, tt.path)
		}
	}
	for _, name := range []string{"trtllm", "openai", "triton"} {
		if _, err := find(t, name).Canary(""); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q without a model: got %v, want an error that names it", name, err)
		}
	}
}

func TestFind(t *testing.T) {
	if got := strings.Join(Names(), " "); got != "vllm sglang trtllm openai triton" {
		t.Errorf("engines: got %s", got)
	}
	for _, name := range []string{"ollama", "", "VLLM"} {
		if _, err := Find(name); err == nil || !strings.Contains(err.Error(), "want one of vllm, sglang, trtllm, openai, triton") {
			t.Errorf("%q: got %v, want an error that lists those there are", name, err)
		}
	}
}

// What each engine's file has to say.
func TestEngines(t *testing.T) {
	for _, e := range all() {
		if e.Name == "" || e.Ready == "" || e.route == nil || len(e.Counters.Series) == 0 || e.Counters.Path == "" {
			t.Errorf("engine %s: got %+v, want all of it", e.Name, e)
		}
		if want := e.Name != "triton"; e.EndsInDone != want || e.ListsModels != want {
			t.Errorf("engine %s: got EndsInDone %v and ListsModels %v, want %v", e.Name, e.EndsInDone, e.ListsModels, want)
		}
		if want := []string{"sglang", "trtllm"}; e.Counters.Stepwise != slices.Contains(want, e.Name) {
			t.Errorf("engine %s: got Stepwise %v, want that of %v only", e.Name, e.Counters.Stepwise, want)
		}
	}
}

func TestPaths(t *testing.T) {
	for _, tt := range []struct{ engine, request, want string }{
		{"vllm", `{"prompt":"x"}`, "/v1/completions"},
		{"vllm", `{"messages":[]}`, "/v1/chat/completions"},
		{"vllm", `{"messages":null,"prompt":"x"}`, "/v1/completions"},
		{"vllm", `{"text":"x"}`, "/v1/completions"},
		{"vllm", `{"a":{"messages":[]}}`, "/v1/completions"},
		{"vllm", `[`, "/v1/completions"},
		{"vllm", `[{"messages":[]}]`, "/v1/completions"},
		{"vllm", `{"messages":[],"messages":null}`, "/v1/completions"},
		{"vllm", ``, "/v1/completions"},
		{"trtllm", `{"messages":[]}`, "/v1/chat/completions"},
		{"openai", `{"messages":[]}`, "/v1/chat/completions"},
		{"sglang", `{"text":"x"}`, "/generate"},
		{"sglang", `{"input_ids":[1]}`, "/generate"},
		{"sglang", `{"prompt":"x"}`, "/v1/completions"},
		{"sglang", `{"messages":[]}`, "/v1/chat/completions"},
		{"triton", `{"text_input":"x"}`, "/v2/models/a%2Fb%20c/generate_stream"},
	} {
		if got := find(t, tt.engine).Path([]byte(tt.request), "a/b c"); got != tt.want {
			t.Errorf("%s %s: got %s, want %s", tt.engine, tt.request, got, tt.want)
		}
	}
}

func TestURLs(t *testing.T) {
	parse := func(raw string) *url.URL {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, tt := range []struct{ root, path, want string }{
		{"http://h:1", "/v1/models", "http://h:1/v1/models"},
		{"http://h:1/", "/v1/models", "http://h:1/v1/models"},
		{"http://h:1/a%2Fb/", "/v2/models/x%2Fy/generate_stream", "http://h:1/a%2Fb/v2/models/x%2Fy/generate_stream"},
	} {
		if got := URL(parse(tt.root), tt.path); got != tt.want {
			t.Errorf("%s and %s: got %s, want %s", tt.root, tt.path, got, tt.want)
		}
	}
	for name, want := range map[string]string{
		"triton": "http://[::1]:8002/metrics",
		"trtllm": "http://[::1]:8000/x/prometheus/metrics",
	} {
		if got := find(t, name).Counters.URL(parse("http://[::1]:8000/x")); got != want {
			t.Errorf("%s's metrics: got %s, want %s", name, got, want)
		}
	}
}

// One literal is all that a new engine takes.
func TestNewEngine(t *testing.T) {
	tgi := Engine{
		Name: "tgi", Ready: "/health",
		canary: `{"inputs":"Test","parameters":{"max_new_tokens":1}}`,
		route: func(request []byte, model string) string {
			var has struct {
				Inputs present `json:"inputs"`
			}
			if json.Unmarshal(request, &has) == nil && bool(has.Inputs) {
				return "/generate_stream"
			}
			return openaiRoute(request, model)
		},
		Counters: Counters{Path: "/metrics", Series: []Series{{Counts: InFlight, Name: "tgi_queue_size"}}},
	}
	body, err := tgi.Canary("")
	if got := tgi.Path(body, ""); err != nil || got != "/generate_stream" {
		t.Errorf("got %s and %s, %v", got, body, err)
	}
	if got := tgi.Path([]byte(`{"messages":[]}`), ""); got != "/v1/chat/completions" {
		t.Errorf("a chat goes to %s", got)
	}
	totals, err := tgi.Counters.Reader("").Read(strings.NewReader("tgi_queue_size 3\n"))
	if err != nil || totals.Totals[InFlight] != 3 {
		t.Errorf("got %v, %v, want 3 in flight", totals, err)
	}
}

func BenchmarkPath(b *testing.B) {
	request := []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("x", 10_000) + `"}],"stream":true,"max_tokens":100}`)
	e := vllm()
	b.SetBytes(int64(len(request)))
	b.ReportAllocs()
	for b.Loop() {
		e.Path(request, "m")
	}
}
