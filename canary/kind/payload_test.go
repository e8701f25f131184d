package kind

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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

func FuzzPayload(f *testing.F) {
	for _, s := range []string{`{"a":1}`, "[]", "", "{", `{"a":"\ud800"}`, "null"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.HasPrefix(s, "@") {
			return // files are not for fuzzing
		}
		body, err := ParsePayload(s)
		var object map[string]json.RawMessage
		isObject := json.Unmarshal([]byte(s), &object) == nil && object != nil && len(s) <= maxPayload
		if (err == nil) != isObject {
			t.Errorf("ParsePayload(%q): got %s, %v; an object: %v", s, body, err, isObject)
		}
		if err != nil && (strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 400) {
			t.Errorf("ParsePayload(%q): got %q, want one line", s, err)
		}
	})
}
