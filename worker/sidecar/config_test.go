package sidecar

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestNewRefuses(t *testing.T) {
	good := Config{Backend: "http://127.0.0.1:8000", Engine: "vllm"}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no backend", func(c *Config) { c.Backend = "" }, `Backend is ""`},
		{"no scheme", func(c *Config) { c.Backend = "localhost:8000" }, "Backend is"},
		{"another scheme", func(c *Config) { c.Backend = "ftp://x" }, "Backend is"},
		{"no host", func(c *Config) { c.Backend = "http://:8000" }, "Backend is"},
		{"a query", func(c *Config) { c.Backend = "http://x/?a=b" }, "Backend is"},
		{"an unknown engine", func(c *Config) { c.Engine = "lmdeploy" }, "want one of auto, vllm, sglang, trtllm, llamacpp"},
		{"an unknown kind", func(c *Config) { c.Kind = "image" }, "Kind is \"image\": want one of completions, chat"},
		{"a path that is none", func(c *Config) { c.Path = "v1/x" }, "Path is"},
		{"a path of two lines", func(c *Config) { c.Path = "/v1/x\r\nX: y" }, "Path is"},
		{"custom without a path", func(c *Config) { c.Engine = "custom" }, "field Path: want where a canary goes"},
		{"triton without a model", func(c *Config) { c.Engine = "triton" }, "field Model: want the name"},
		{"a payload that is no object", func(c *Config) { c.Payload = json.RawMessage(`[1]`) }, "Payload"},
		{"a payload that is null", func(c *Config) { c.Payload = json.RawMessage(`null`) }, "Payload"},
		{"a payload that is no JSON", func(c *Config) { c.Payload = json.RawMessage(`{`) }, "Payload"},
		{"an unknown activity", func(c *Config) { c.Activity = "guess" }, "Activity is"},
		{"a key of two lines", func(c *Config) { c.APIKey = "s3cret\r\nX: y" }, "field APIKey: want characters"},
		{"authorities for plain text", func(c *Config) { c.CAFile = "ca.pem" }, "an engine behind https"},
		{"authorities that are not there", func(c *Config) { c.Backend, c.CAFile = "https://x", "/none.pem" }, "CAFile: open"},
		{"authorities that are none", func(c *Config) { c.Backend, c.CAFile = "https://x", "config_test.go" }, "want a file with a certificate in PEM"},
		{"a password", func(c *Config) { c.Backend = "ftp://u:s3cret@x" }, "Backend is"},
		{"a password in what is no URL", func(c *Config) { c.Backend = "http://u:s3cret@x y" }, "Backend is"},
		{"a password, and a query", func(c *Config) { c.Backend = "http://u:s3cret@x/?key=s3cret" }, "Backend is"},
		{"a password of metrics", func(c *Config) { c.Metrics = "u:s3cret@x" }, "Metrics is"},
		{"a model of two lines", func(c *Config) { c.Model = "a\nb" }, "Model is"},
		{"metrics with a fragment", func(c *Config) { c.Metrics = "http://h/metrics#x" }, "Metrics is"},
		{"metrics that are no URL", func(c *Config) { c.Metrics = "8002" }, "Metrics is"},
	} {
		cfg := good
		tt.change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) || strings.ContainsAny(err.Error(), "\r\n") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
	}
	s, err := New(good)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	if s.Model() != "" || s.Engine() != "vllm" || s.Kind() != "" {
		t.Errorf("got model %q, engine %q, kind %q, want vllm alone", s.Model(), s.Engine(), s.Kind())
	}
	// A payload that names its model needs no list; a query of metrics is one.
	s, err = New(Config{Backend: "http://h", Payload: json.RawMessage(`{"model":"mine","input":"x"}`), Metrics: "http://h/metrics?model=a"})
	if err != nil || s.Model() != "mine" || s.Engine() != "auto" {
		t.Errorf("got model %q, engine %q, %v, want mine and auto", s.Model(), s.Engine(), err)
	}
}
