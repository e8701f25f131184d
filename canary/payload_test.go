package canary

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPayloads(t *testing.T) {
	for _, tt := range []struct{ engine, model, path, body string }{
		{"vllm", `Qwen/"3"`, "/v1/completions", `{"model":"Qwen/\"3\"","prompt":[1],"temperature":0,"max_tokens":1,"stream":true}`},
		{"vllm", "", "/v1/completions", `{"prompt":[1],"temperature":0,"max_tokens":1,"stream":true}`},
		{"sglang", "m", "/generate", `{"input_ids":[0],"sampling_params":{"temperature":0,"max_new_tokens":1},"stream":true}`},
		{"trtllm", "m", "/v1/completions", `{"model":"m","prompt":"Test","temperature":0,"max_tokens":1,"stream":true}`},
		{"openai", "{model}", "/v1/completions", `{"model":"{model}","prompt":"Test","temperature":0,"max_tokens":1,"stream":true}`},
		{"triton", "a b/c", "/v2/models/a%20b%2Fc/generate_stream",
			`{"text_input":"Test","max_tokens":1,"temperature":0,"bad_words":"","stop_words":"","stream":true}`},
	} {
		p, err := PayloadFor(tt.engine, tt.model)
		if err != nil || p.Path != tt.path || string(p.Body) != tt.body || !json.Valid(p.Body) {
			t.Errorf("%s, %q: got %s %s, %v", tt.engine, tt.model, p.Path, p.Body, err)
		}
		if want := tt.engine != "triton"; p.WantDone != want {
			t.Errorf("%s: got WantDone %v, want %v", tt.engine, p.WantDone, want)
		}
	}
	for _, engine := range []string{"trtllm", "openai", "triton", "ollama", ""} {
		if _, err := PayloadFor(engine, ""); err == nil || !strings.Contains(err.Error(), engine) {
			t.Errorf("%q without a model: got %v, want an error that names it", engine, err)
		}
	}
	if got := strings.Join(Engines(), " "); got != "vllm sglang trtllm openai triton" {
		t.Errorf("engines: got %s", got)
	}
}

func TestParsePayload(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return "@" + path
	}
	for _, tt := range []struct{ in, want string }{
		{`{"a": 1}`, `{"a":1}`},
		{" {\n} ", `{}`},
		{file("good", "{\n  \"n\": 18446744073709551615\n}\n"), `{"n":18446744073709551615}`},
	} {
		if got, err := ParsePayload(tt.in); err != nil || string(got) != tt.want {
			t.Errorf("%q: got %s, %v, want %s", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{
		"", "x", "[]", "null", `"{}"`, "{", `{"a":1} {}`, "@", "@" + dir, "@" + dir + "/none", file("list", "[1]"), file("bad", "{\n\"a\":\n"),
		file("large", `{"a":"`+strings.Repeat("x", 1<<20)+`"}`), "{\n\xff", strings.Repeat("[", 100_000),
	} {
		_, err := ParsePayload(in)
		if err == nil || strings.Contains(err.Error(), "\n") || len(err.Error()) > 600 {
			t.Errorf("%.40q: got %v, want an error of one line", in, err)
		}
	}
}
