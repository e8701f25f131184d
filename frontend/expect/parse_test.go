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

// The first place that cannot be right is told, with what could stand there, in a line.
func TestParseRefuses(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, tt := range []struct{ in, want string }{
		{"", "want dyn://namespace.component.endpoint>=1, or model:name/role>=1"},
		{" , ", "at its end: want dyn://namespace.component.endpoint>=1, or model:name/role>=1"},
		{"14", `at character 1, "14": want dyn://namespace.component.endpoint>=1, or model:name/role>=1`},
		{"dyn:/a.b.c>=1", `at character 6, "a.b.c>=1": want dyn://namespace.component.endpoint>=1, or model:name/role>=1`},
		{"dyn://a.b>=1", `at character 10, ">=1": want . and the endpoint: a name has three parts`},
		{"dyn://a", "at its end: want . and the component: a name has three parts"},
		{"dyn://a.b.c.d>=1", `at character 12, ".d>=1": want >= and how many: a name has three parts`},
		{"dyn://.b.c>=1", `at character 7, ".b.c>=1": want the namespace: A-Z a-z 0-9 _ -, and * for any of them`},
		{"dyn://a.b c.d>=1", `at character 10, " c.d>=1": want . and the endpoint: a name has three parts`},
		{"dyn://a.b*c d.e>=1", `at character 12, " d.e>=1": want . and the endpoint: a name has three parts`},
		{"model:>=1", `at character 7, ">=1": want the model's name, and maybe / and aggregated, prefill, decode, encode`},
		{"model:a b>=1", `at character 9, "b>=1": want >= and how many`},
		{"model:a", "at its end: want >= and how many"},
		{"dyn://a.b.c", "at its end: want >= and how many"},
		{"dyn://a.b.c=1", `at character 12, "=1": want >= and how many`},
		{"dyn://a.b.c>1", `at character 13, "1": want >= and how many`},
		{"dyn://a.b.c≥1", `at character 12, "\u22651": want >= and how many`},
		{"dyn://a.b.c{verified}>=1", `at character 12, "{verified}>=1": want >= and how many; {verified} comes after that`},
		{"dyn://a.b.c>=", "at its end: want a whole number, 0 to 1000000"},
		{"dyn://a.b.c>=-1", `at character 14, "-1": want a whole number, 0 to 1000000`},
		{"dyn://a.b.c>=1000001", `at character 14, "1000001": want a whole number, 0 to 1000000`},
		{"dyn://a.b.c>=99999999999999999999", `at character 14, "99999999999999999999": want a whole number, 0 to 1000000`},
		{"dyn://a.b.c>=1.5", `at character 15, ".5": want a comma, {verified} or the end`},
		{"dyn://a.b.c>=1 dyn://d.e.f>=1", `at character 16, "dyn://d.e.f>=1": want a comma, {verified} or the end`},
		{"dyn://a.b.c>=1{verify}", `at character 21, "y}": want {verified}`},
		{"dyn://a.b.c>=1{verified}x", `at character 25, "x": want a comma or the end`},
		{"dyn://a.b.c>=1\n\x1b[31m", `at character 16, "\x1b[31m": want dyn://namespace.component.endpoint>=1, or model:name/role>=1`},
		{"dyn://a." + long + "y.c>=1", `at character 264, "y.c>=1": want component of at most 255 characters`},
		{"x" + strings.Repeat(" ", 100), `at character 1, "x` + strings.Repeat(" ", 23) + `...": want dyn://namespace.component.endpoint>=1, or model:name/role>=1`},
		{strings.Repeat("dyn://a.b.c>=1,", 257), `at character 3841, "dyn://a.b.c>=1,": want at most 256 expectations`},
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
// in one line that any terminal can show.
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
		line := err.Error()
		if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 || len(line) > 400 {
			t.Errorf("got %q, no line to show", line)
		}
		if r, _ := utf8.DecodeRuneInString(text[e.At:]); r > ' ' && r <= '~' && r != '"' && r != '\\' && !strings.Contains(line, fmt.Sprintf(`, "%c`, r)) {
			t.Errorf("got %q, which does not quote from %q on", line, r)
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
