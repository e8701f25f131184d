package text_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dynmesh/dynmesh/internal/text"
)

func TestLine(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		limit    int
		want     string
	}{
		{"plain", "as it is", 20, "as it is"},
		{"exactly as long as may be", "12345", 5, "12345"},
		{"too long", "123456", 5, "12…"},
		{"not within a character", "12éé56", 6, "12…"},
		{"lines, tabs and many spaces", " a\r\n\tb   c\u2028d\u00a0e ", 20, "a b c d e"},
		{"controls, escapes and marks of direction", "a\x00b\x1b[31mc\u202ed\x7f", 20, "a b [31mc d"},
		{"not UTF-8", "a\xffb", 20, "a\uFFFDb"},
		{"nothing but space, and much of it", strings.Repeat(" ", 100), 5, "…"},
		{"empty", "", 5, ""},
	} {
		if got := text.Line(tt.in, tt.limit); got != tt.want {
			t.Errorf("%s: Line(%q, %d) = %q, want %q", tt.name, tt.in, tt.limit, got, tt.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 200 * time.Millisecond: "200ms", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", time.Hour: "1h", 100 * time.Minute: "1h40m",
		10*time.Hour + 10*time.Second: "10h0m10s", 25 * time.Hour: "25h", 720 * time.Hour: "30d", -2 * time.Minute: "-2m",
	} {
		if got := text.Duration(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\u202eb\xff\n", 5)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 3 || limit > 1000 {
			return
		}
		got := text.Line(s, limit)
		if len(got) > limit || !utf8.ValidString(got) {
			t.Errorf("Line(%q, %d) = %q", s, limit, got)
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return !unicode.IsGraphic(r) }); i >= 0 {
			t.Errorf("Line(%q, %d) = %q, which has a hidden character at %d", s, limit, got, i)
		}
	})
}

func TestURLHidesSecrets(t *testing.T) {
	for in, want := range map[string]string{
		"http://h:1/v1":                 "http://h:1/v1",
		"http://u:SECRET@h:1/v1":        "http://…@h:1/v1",
		"http://SECRET@h":               "http://…@h",
		"u:SECRET@h:1":                  "…@h:1",
		"http://u:SEC/RET@h?key=SECRET": "http://…@h…",
		"http://u:SEC@RET@h#SECRET":     "http://…@h…",
		"h:1":                           "h:1",
		"":                              "",
	} {
		if got := text.URL(in); got != want {
			t.Errorf("URL(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestErrorHidesSecrets(t *testing.T) {
	asked := &url.Error{Op: "Get", URL: "http://u:SECRET@h/?SECRET", Err: errors.New("refused")}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("look: %w", asked), "refused"},
		{errors.New(`dial "http://u:SECRET@h": refused` + "\n"), `dial "http://…@h": refused`},
		{errors.New("mail a@b"), "mail a@b"},
	} {
		if got := text.Error(tt.err, 100); got != tt.want {
			t.Errorf("Error(%v) = %q, want %q", tt.err, got, tt.want)
		}
	}
}

// invisible are the characters that move or hide what others show: controls of both kinds, marks of
// writing direction, and of no width.
const invisible = "\u007f\u0085\u009b\u061c\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\U000e0001"

func TestJSON(t *testing.T) {
	if got := string(text.JSON(map[string]string{"a": "<&>\u2028"})); got != `{"a":"<&>\u2028"}` {
		t.Errorf("got %s", got)
	}
	for _, r := range invisible {
		given := "a" + string(r) + "é\t"
		got := string(text.JSON(given))
		var back string
		if err := json.Unmarshal([]byte(got), &back); err != nil || back != given || strings.ContainsRune(got, r) {
			t.Errorf("%U: got %s, which is %q (%v)", r, got, back, err)
		}
	}
	if got := string(text.EscapeJSON([]byte("{\n\t\"é\": 1 }"))); got != "{\n\t\"é\": 1 }" {
		t.Errorf("got %s", got)
	}
}

func TestShows(t *testing.T) {
	for s, want := range map[string]bool{"": true, "a b": true, "é漢": true, "a\nb": false, "a\x00": false, "\xff": false, "\x1b[31m": false} {
		if got := text.Shows(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
	for _, r := range invisible {
		if text.Shows("a" + string(r) + "b") {
			t.Errorf("%U shows", r)
		}
		if got := text.Line("a"+string(r)+"b", 10); got != "a b" {
			t.Errorf("%U in a line: got %q", r, got)
		}
	}
}

func FuzzEscapeJSON(f *testing.F) {
	f.Add("{\"a\":\"\\u202e\u202ex\"}")
	f.Fuzz(func(t *testing.T, s string) {
		var before, after any
		if json.Unmarshal([]byte(s), &before) != nil || !utf8.ValidString(s) {
			return
		}
		got := text.EscapeJSON([]byte(s))
		if err := json.Unmarshal(got, &after); err != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("%q became %q: %v", s, got, err)
		}
		if !text.Shows(strings.Map(func(r rune) rune {
			if r < ' ' {
				return -1
			}
			return r
		}, string(got))) {
			t.Errorf("%q became %q, which does not all show", s, got)
		}
	})
}
