package plain

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestText(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 5, ""},
		{"dyn://a.b.c", 11, "dyn://a.b.c"},
		{"dyn://a.b.c", 10, "dyn://a.b…"},
		{"größe 大", 7, "größe 大"},
		{"größe 大小", 7, "größe …"},
		{"a\x1b[2Jb\nc\td", 20, "a?[2Jb?c?d"},
		{"\u009b31m \u202eevil\u2028 \x7f", 20, "?31m ?evil? ?"},
		{"\xff\xfe\ufffd", 20, "???"},
		{"e\u0301\u0301\u0301\u0301x", 20, "e\u0301???x"},
		{"\xffabc", 4, "?abc"},
		{"ab\xff", 3, "ab?"},
		{"ab\xffc", 3, "ab…"},
	} {
		if got := Text(tt.in, tt.limit); got != tt.want {
			t.Errorf("Text(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("\x1b]0;x\a", 4)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 1 {
			return
		}
		got := Text(s, limit)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > limit || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("Text(%q, %d) = %q", s, limit, got)
		}
		if again := Text(got, limit); again != got {
			t.Errorf("Text(%q) = %q", got, again)
		}
	})
}

func TestJSONIsTheSameDocument(t *testing.T) {
	document := "{\"a\\u001b\": \"\u009b\x7f\u202e é 大 \U0001f600 \\\"\",\n\t\"b\": [1.5, null]}"
	got := JSON([]byte(document))
	for _, c := range got {
		if c >= 0x7f || c < ' ' && c != '\n' && c != '\t' {
			t.Fatalf("got %q", got)
		}
	}
	var was, is any
	if err := json.Unmarshal([]byte(document), &was); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &is); err != nil || !reflect.DeepEqual(is, was) {
		t.Errorf("got %s, %v", got, err)
	}
	if got, want := string(JSON([]byte("\x00\x1b[2J\xff"))), `\u0000\u001b[2J\ufffd`; got != want {
		t.Errorf("got %s of what is no JSON, want %s", got, want)
	}
}
