package sidecar

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/canary"
)

func TestNewRefuses(t *testing.T) {
	good := Config{Backend: "http://127.0.0.1:8000", Engine: "vllm"}
	for _, tt := range []struct {
		name string
		turn func(*Config)
		want string
	}{
		{"no backend", func(c *Config) { c.Backend = "" }, `Backend is ""`},
		{"no scheme", func(c *Config) { c.Backend = "localhost:8000" }, "Backend is"},
		{"another scheme", func(c *Config) { c.Backend = "ftp://x" }, "Backend is"},
		{"no host", func(c *Config) { c.Backend = "http://:8000" }, "Backend is"},
		{"a query", func(c *Config) { c.Backend = "http://x/?a=b" }, "Backend is"},
		{"no engine", func(c *Config) { c.Engine = "" }, "Engine is"},
		{"an unknown engine", func(c *Config) { c.Engine = "llamacpp" }, "want one of vllm, sglang, trtllm, openai, triton"},
		{"triton without a model", func(c *Config) { c.Engine = "triton" }, "Model is missing"},
		{"a payload that is no object", func(c *Config) { c.Payload = json.RawMessage(`[1]`) }, "Payload"},
		{"a payload that is null", func(c *Config) { c.Payload = json.RawMessage(`null`) }, "Payload"},
		{"a payload that is no JSON", func(c *Config) { c.Payload = json.RawMessage(`{`) }, "Payload"},
		{"an unknown activity", func(c *Config) { c.Activity = "guess" }, "Activity is"},
		{"a key of two lines", func(c *Config) { c.APIKey = "s3cret\r\nX: y" }, "APIKey has characters"},
		{"authorities for plain text", func(c *Config) { c.CAFile = "ca.pem" }, "CAFile is set"},
		{"authorities that are not there", func(c *Config) { c.Backend, c.CAFile = "https://x", "/none.pem" }, "CAFile: open"},
		{"authorities that are none", func(c *Config) { c.Backend, c.CAFile = "https://x", "config_test.go" }, "no PEM certificate"},
		{"metrics that are no URL", func(c *Config) { c.Metrics = "8002" }, "Metrics is"},
	} {
		cfg := good
		tt.turn(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
	}
	s, err := New(good)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	if s.Activity() != nil || s.Model() != "" {
		t.Errorf("got an activity or a model, want none")
	}
}

// Every engine that canaries know can be stood in front of.
func TestEngines(t *testing.T) {
	if got, want := len(engines()), len(canary.Engines()); got != want {
		t.Errorf("got %d engines, want %d", got, want)
	}
	for _, name := range canary.Engines() {
		e, ok := engines()[name]
		if !ok || e.ready == "" || e.route == nil || len(e.metrics.series) == 0 {
			t.Errorf("engine %s: got %+v, want all of it", name, e)
		}
		p, err := canary.PayloadFor(name, "m/x")
		if err != nil {
			t.Fatalf("PayloadFor: %v", err)
		}
		if got := e.route(fieldsOf(p.Body), "m/x"); got != p.Path || e.done != p.WantDone {
			t.Errorf("engine %s: its canary goes to %s, want %s", name, got, p.Path)
		}
	}
}

func TestRoutes(t *testing.T) {
	for _, tt := range []struct{ engine, request, want string }{
		{"vllm", `{"prompt":"x"}`, "/v1/completions"},
		{"vllm", `{"messages":[]}`, "/v1/chat/completions"},
		{"vllm", `{"messages":null,"prompt":"x"}`, "/v1/completions"},
		{"vllm", `{"text":"x"}`, "/v1/completions"},
		{"vllm", `{"a":{"messages":[]}}`, "/v1/completions"},
		{"vllm", `[`, "/v1/completions"},
		{"trtllm", `{"messages":[]}`, "/v1/chat/completions"},
		{"openai", `{"messages":[]}`, "/v1/chat/completions"},
		{"sglang", `{"text":"x"}`, "/generate"},
		{"sglang", `{"input_ids":[1]}`, "/generate"},
		{"sglang", `{"prompt":"x"}`, "/v1/completions"},
		{"sglang", `{"messages":[]}`, "/v1/chat/completions"},
		{"triton", `{"text_input":"x"}`, "/v2/models/a%2Fb%20c/generate_stream"},
	} {
		if got := engines()[tt.engine].route(fieldsOf([]byte(tt.request)), "a/b c"); got != tt.want {
			t.Errorf("%s %s: got %s, want %s", tt.engine, tt.request, got, tt.want)
		}
	}
}

func TestURLs(t *testing.T) {
	for _, tt := range []struct{ base, path, want string }{
		{"http://h:1", "/v1/models", "http://h:1/v1/models"},
		{"http://h:1/", "/v1/models", "http://h:1/v1/models"},
		{"http://h:1/a%2Fb/", "/v2/models/x%2Fy/generate_stream", "http://h:1/a%2Fb/v2/models/x%2Fy/generate_stream"},
	} {
		base, err := url.Parse(tt.base)
		if err != nil {
			t.Fatal(err)
		}
		if got := join(base, tt.path); got != tt.want {
			t.Errorf("%s and %s: got %s, want %s", tt.base, tt.path, got, tt.want)
		}
	}
	base, _ := url.Parse("http://[::1]:8000/x")
	if got, want := tritonCounters().url(base), "http://[::1]:8002/metrics"; got != want {
		t.Errorf("triton's metrics: got %s, want %s", got, want)
	}
	if got, want := trtllmCounters().url(base), "http://[::1]:8000/x/prometheus/metrics"; got != want {
		t.Errorf("trtllm's metrics: got %s, want %s", got, want)
	}
}
