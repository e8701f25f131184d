package expect

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParse(t *testing.T) {
	prefill := Expectation{Endpoint: "dyn://dynamo.prefill.generate", Want: 14}
	for _, tt := range []struct {
		in   string
		want []Expectation
	}{
		{"dyn://dynamo.prefill.generate>=14", []Expectation{prefill}},
		{" dyn://dynamo.prefill.generate >= 14 ", []Expectation{prefill}},
		{"dyn://dynamo.prefill.generate>=014", []Expectation{prefill}},
		{"dyn://dynamo.prefill.generate>=14,dyn://a-1.b_2.C>=0", []Expectation{prefill, {"dyn://a-1.b_2.C", 0, false}}},
		{"dyn://dynamo.prefill.generate>=14\n,\r\n dyn://a.b.c>=1000000,,", []Expectation{prefill, {"dyn://a.b.c", 1000000, false}}},
		{"dyn://dynamo.prefill.generate>=14\ndyn://a.b.c>=1\n", []Expectation{prefill, {"dyn://a.b.c", 1, false}}},
		{"dyn://*.*.*>=1", []Expectation{{"dyn://*.*.*", 1, false}}},
		{"dyn://prod-*.pre*ll.*>=1", []Expectation{{"dyn://prod-*.pre*ll.*", 1, false}}},
		{"model:meta/llama-70b:it@1/decode >= 4{verified},model:tiny>=1", []Expectation{{"model:meta/llama-70b:it@1/decode", 4, true}, {"model:tiny", 1, false}}},
		{"dyn://dynamo.*.generate>=16{verified}", []Expectation{{"dyn://dynamo.*.generate", 16, true}}},
		{"dyn://a.b.c>=2 {verified} , dyn://a.b.c>=3", []Expectation{{"dyn://a.b.c", 2, true}, {"dyn://a.b.c", 3, false}}},
	} {
		got, err := Parse(tt.in)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("Parse(%q) = %v, %v, want %v", tt.in, got, err, tt.want)
		}
	}
}

// The caret stands under the first place that cannot be right, and the line above says what could.
func TestParseRefuses(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, tt := range []struct{ in, want string }{
		{"", "want dyn://namespace.component.endpoint>=1, or model:name/role>=1\n  \n  ^"},
		{" , ", "want dyn://namespace.component.endpoint>=1, or model:name/role>=1\n   , \n     ^"},
		{"14", "want dyn://namespace.component.endpoint>=1, or model:name/role>=1\n  14\n  ^"},
		{"dyn:/a.b.c>=1", "want dyn://namespace.component.endpoint>=1, or model:name/role>=1\n  dyn:/a.b.c>=1\n       ^"},
		{"dyn://a.b>=1", "want . and the endpoint: a name has three parts\n  dyn://a.b>=1\n           ^"},
		{"dyn://a", "want . and the component: a name has three parts\n  dyn://a\n         ^"},
		{"dyn://a.b.c.d>=1", "want >= and how many: a name has three parts\n  dyn://a.b.c.d>=1\n             ^"},
		{"dyn://.b.c>=1", "want the namespace: A-Z a-z 0-9 _ -, and * for any of them\n  dyn://.b.c>=1\n        ^"},
		{"dyn://a.b c.d>=1", "want . and the endpoint: a name has three parts\n  dyn://a.b c.d>=1\n           ^"},
		{"dyn://a.b*c d.e>=1", "want . and the endpoint: a name has three parts\n  dyn://a.b*c d.e>=1\n             ^"},
		{"model:>=1", "want the model's name, and maybe / and aggregated, prefill, decode, encode\n  model:>=1\n        ^"},
		{"model:a b>=1", "want >= and how many\n  model:a b>=1\n          ^"},
		{"model:a", "want >= and how many\n  model:a\n         ^"},
		{"dyn://a.b.c", "want >= and how many\n  dyn://a.b.c\n             ^"},
		{"dyn://a.b.c=1", "want >= and how many\n  dyn://a.b.c=1\n             ^"},
		{"dyn://a.b.c>1", "want >= and how many\n  dyn://a.b.c>1\n              ^"},
		{"dyn://a.b.c≥1", "want >= and how many\n  dyn://a.b.c?1\n             ^"},
		{"dyn://a.b.c{verified}>=1", "want >= and how many; {verified} comes after that\n  dyn://a.b.c{verified}>=1\n             ^"},
		{"dyn://a.b.c>=", "want a whole number, 0 to 1000000\n  dyn://a.b.c>=\n               ^"},
		{"dyn://a.b.c>=-1", "want a whole number, 0 to 1000000\n  dyn://a.b.c>=-1\n               ^"},
		{"dyn://a.b.c>=1000001", "want a whole number, 0 to 1000000\n  dyn://a.b.c>=1000001\n               ^"},
		{"dyn://a.b.c>=99999999999999999999", "want a whole number, 0 to 1000000\n  dyn://a.b.c>=99999999999999999999\n               ^"},
		{"dyn://a.b.c>=1.5", "want a comma, {verified} or the end\n  dyn://a.b.c>=1.5\n                ^"},
		{"dyn://a.b.c>=1 dyn://d.e.f>=1", "want a comma, {verified} or the end\n  dyn://a.b.c>=1 dyn://d.e.f>=1\n                 ^"},
		{"dyn://a.b.c>=1{verify}", "want {verified}\n  dyn://a.b.c>=1{verify}\n                      ^"},
		{"dyn://a.b.c>=1{verified}x", "want a comma or the end\n  dyn://a.b.c>=1{verified}x\n                          ^"},
		{"dyn://a.b.c>=1\n\x1b[31m", "want dyn://namespace.component.endpoint>=1, or model:name/role>=1\n  dyn://a.b.c>=1 ?[31m\n                 ^"},
		{"dyn://a." + long + "y.c>=1", "want component of at most 255 characters\n  ..." + strings.Repeat("x", 63) + "y.c>=1\n  " + strings.Repeat(" ", 66) + "^"},
		{"x" + strings.Repeat(" ", 100), "want dyn://namespace.component.endpoint>=1, or model:name/role>=1\n  x" + strings.Repeat(" ", 68) + "...\n  ^"},
		{strings.Repeat("dyn://a.b.c>=1,", 257), "want at most 256 expectations\n  ...a.b.c>=1," + strings.Repeat("dyn://a.b.c>=1,", 4) + "\n" + strings.Repeat(" ", 2+57) + "^"},
	} {
		got, err := Parse(tt.in)
		if err == nil || err.Error() != tt.want {
			t.Errorf("Parse(%.60q) = %v,\n%v\nwant\n%s", tt.in, got, err, tt.want)
		}
	}
	if _, err := Parse(strings.Repeat(" ", maxText+1)); err == nil || !strings.Contains(err.Error(), "at most 65536 bytes") {
		t.Errorf("got %v of a text without end", err)
	}
}

// Whatever is given, it is either understood, and then says the same when written out, or refused
// in three lines that any terminal can show.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "dyn://a.b.c>=1", "dyn://*.b.c >= 14 {verified},\ndyn://a.*.*>=0", "dyn://a.b.c≥1", "dyn://\xff\x1b[2J", "dyn://a.b.c>=1{verified"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Parse(text)
		if err == nil {
			var written []string
			for _, e := range all {
				if e.Want < 0 || e.Want > MaxCount || !e.Matches(e.Endpoint) || e.Several() != strings.Contains(e.Endpoint, "*") {
					t.Errorf("got %+v", e)
				}
				written = append(written, e.String())
			}
			again, err := Parse(strings.Join(written, ","))
			if len(all) == 0 || err != nil || !slices.Equal(again, all) {
				t.Errorf("got %v, then %v, %v", all, again, err)
			}
			return
		}
		e, ok := errors.AsType[*SyntaxError](err)
		if !ok || all != nil || e.At < 0 || e.At > len(text) || e.Text != text {
			t.Fatalf("got %v, %#v", all, err)
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != 3 || len(lines[1]) > 2+window || strings.Trim(lines[2], " ") != "^" || len(lines[2]) > len(lines[1])+1 {
			t.Errorf("got %q", lines)
		}
		if i := strings.IndexFunc(strings.Join(lines, ""), func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
			t.Errorf("got %q", lines)
		}
		// What stands over the caret is what stands at the place.
		if r, _ := utf8.DecodeRuneInString(text[e.At:]); r > ' ' && r <= '~' && len(text) <= window {
			if over := fmt.Sprintf("%c", r); lines[1][len(lines[2])-1:][:1] != over {
				t.Errorf("the caret is under %q, want %q: %q", lines[1][len(lines[2])-1:], over, lines)
			}
		}
	})
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"dyn://a.b.c", "dyn://a.b.c", true},
		{"dyn://a.b.c", "dyn://a.b.d", false},
		{"dyn://a.*.c", "dyn://a.b.c", true},
		{"dyn://a.*.c", "dyn://a..c", true}, // buckets may have registered that
		{"dyn://a.*.c", "dyn://a.b.d", false},
		{"dyn://*.*.*", "dyn://a.b.c", true},
		{"dyn://*.*.*", "dyn://a.b", false},
		{"dyn://*.*.*", "dyn://a.b.c.d", false},
		{"dyn://*.*.*", "a.b.c", false},
		{"dyn://*.*.*", "", false},
	} {
		if got := (Expectation{Endpoint: tt.pattern}).Matches(tt.name); got != tt.want {
			t.Errorf("%s of %s: got %v, want %v", tt.pattern, tt.name, got, tt.want)
		}
	}
}
