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
		{"no engine", func(c *Config) { c.Engine = "" }, "Engine is"},
		{"an unknown engine", func(c *Config) { c.Engine = "llamacpp" }, "want one of vllm, sglang, trtllm, openai, triton"},
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
	if s.Activity() != nil || s.Model() != "" {
		t.Errorf("got an activity or a model, want none")
	}
}
