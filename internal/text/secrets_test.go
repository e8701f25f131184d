package text

import "testing"

func TestRedact(t *testing.T) {
	secrets := Secrets{"s3cret-key", "", "hunter2"}
	for in, want := range map[string]string{
		"":                                 "",
		"nothing to hide":                  "nothing to hide",
		"Bearer s3cret-key, s3cret-key":    "Bearer …, …",
		"hunter2 and s3cret-key":           "… and …",
		"cut: s3cret-k":                    "cut: …",
		"cut: s3cret-k…":                   "cut: …",
		"cut: s3cr":                        "cut: …",
		"too short to be one: s3c":         "too short to be one: s3c",
		"s3cret in the middle of the text": "s3cret in the middle of the text",
	} {
		if got := secrets.Redact(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := (Secrets)(nil).Redact("x"); got != "x" {
		t.Errorf("no secrets: got %q, want x", got)
	}
}
