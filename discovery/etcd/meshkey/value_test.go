package meshkey

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

func key(c byte, n int) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(c), n)))
}

func TestDecode(t *testing.T) {
	a, b, c := key('a', 32), key('b', 24), key('c', 16)
	for _, tt := range []struct{ name, held, want, err string }{
		{"at rest", `{"key":"` + a + `"}`, a, ""},
		{"to be used", `{"key":"` + a + `","next":"` + b + `"}`, a + " " + b, ""},
		{"in use", `{"key":"` + a + `","old":["` + b + `","` + c + `"]}`, a + " " + b + " " + c, ""},
		{"unknown fields", `{"key":"` + a + `","since":7}`, a, ""},
		{"nothing", ``, "", `it is no JSON object with a "key" in base64`},
		{"text", a, "", `it is no JSON object with a "key" in base64`},
		{"of a wrong type", `{"key":["` + a + `"]}`, "", `it is no JSON object with a "key" in base64`},
		{"empty", `{}`, "", "key 1 of 1 has 0 bytes: want 16, 24 or 32"},
		{"not base64", `{"key":"sesame!"}`, "", "key 1 of 1 is not base64"},
		{"too short", `{"key":"` + key('a', 8) + `"}`, "", "key 1 of 1 has 8 bytes: want 16, 24 or 32"},
		{"a bad one among good", `{"key":"` + a + `","old":["sesame!"]}`, "", "key 2 of 2 is not base64"},
		{"twice", `{"key":"` + a + `","next":"` + a + `"}`, "", "key 2 of 2 stands there twice"},
		{"too many", `{"key":"` + a + `","old":["` + strings.Repeat(b+`","`, 16) + `"]}`, "", "it has 18 keys, more than 16"},
		{"too long", `{"key":"` + strings.Repeat("a", maxValue) + `"}`, "", "it has 4106 bytes, more than 4096"},
	} {
		v, err := Decode([]byte(tt.held))
		if err != nil {
			if err.Error() != tt.err {
				t.Errorf("%s: got %q, want %q", tt.name, err, tt.err)
			}
			continue
		}
		if got := strings.Join(v.Keys(), " "); got != tt.want || tt.err != "" {
			t.Errorf("%s: got %s, want %s%s", tt.name, got, tt.want, tt.err)
		}
		if again, err := Decode([]byte(v.Encode())); err != nil || !again.Equal(v) {
			t.Errorf("%s: %v is read as %v, %v", tt.name, v.Encode(), again, err)
		}
	}
}

// At each step all understand what those say who are a step behind or ahead.
func TestStepsOfARotation(t *testing.T) {
	v := New()
	first := v.Key
	steps := map[string]bool{}
	for n := range 3 {
		next := v.advance()
		if !strings.Contains(strings.Join(next.Keys(), " "), v.Key) && n < 2 || !strings.Contains(strings.Join(v.Keys(), " "), next.Key) {
			t.Errorf("step %d: who has %d keys and who has %d do not understand each other", n, len(v.Keys()), len(next.Keys()))
		}
		v = next
		steps[v.Step()] = true
	}
	if !v.Resting() || v.Key == first || len(v.Keys()) != 1 {
		t.Errorf("after three steps: resting %v, %v", v.Resting(), v)
	}
	if len(steps) != 3 || !steps[""] {
		t.Errorf("the steps are named %v, want two names, and none at rest", steps)
	}
}

func TestValueIsNotPrinted(t *testing.T) {
	v := New().advance()
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, printed := range []string{fmt.Sprintf(format, v), fmt.Sprintf(format, &v), fmt.Sprintf(format, []Value{v})} {
			if strings.Contains(printed, v.Key) || strings.Contains(printed, v.Next) {
				t.Errorf("%s prints %s", format, printed)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(New().advance().Encode()))
	f.Add([]byte(`{"key":"","old":[null]}`))
	f.Fuzz(func(t *testing.T, held []byte) {
		v, err := Decode(held)
		if err != nil {
			return
		}
		if again, err := Decode([]byte(v.Encode())); err != nil || !again.Equal(v) {
			t.Errorf("%q is read as %v, %v", v.Encode(), again, err)
		}
	})
}
