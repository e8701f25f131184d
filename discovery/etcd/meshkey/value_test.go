package meshkey

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"
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
		{"made just now", `{"key":"` + a + `","made":1800000000}`, a, ""},
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

// Keys give way to others but for a while after somebody made these who knew none.
func TestWhatGivesWay(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	has, never := New(), time.Time{}
	at := func(ago time.Duration) Value { return madeAt(now.Add(-ago)) }
	within := at(5 * time.Second)
	for _, tt := range []struct {
		name string
		held Value
		want time.Time
	}{
		{"put there by people", New(), never},
		{"made just now", at(0), now.Add(Contested)},
		{"made within the time", within, now.Add(Contested - 5*time.Second)},
		{"made before", at(Contested), never},
		{"made soon, by another clock", at(-5 * time.Second), now.Add(Contested + 5*time.Second)},
		{"made in an hour", at(-time.Hour), never},
		{"a step of a rotation", within.advance(), never},
		{"the same", Value{Key: has.Key, Made: now.Unix()}, never},
		{"of a rotation of the same", Value{Key: New().Key, Old: []string{has.Key}, Made: now.Unix()}, never},
		{"put back", within.stands(), never},
		{"nonsense", Value{Key: New().Key, Made: -1 << 63}, never},
		{"nonsense ahead", Value{Key: New().Key, Made: 1<<63 - 1}, never},
	} {
		if got := tt.held.gives(has, now); !got.Equal(tt.want) {
			t.Errorf("%s: until %v, want %v", tt.name, got, tt.want)
		}
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
