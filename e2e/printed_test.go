package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/dynmesh/dynmesh/frontend/plain"
)

// longest is how much of a reason or a warning commands print, in characters.
const longest = 400

// printsDiffer runs a command, and returns in what it ends otherwise or prints something else.
func (w *world) printsDiffer(ctx context.Context, s saying, code int, differs func(s saying, text string) error, args ...string) error {
	text, got, err := w.print(ctx, args...)
	if err == nil && got != code {
		err = fmt.Errorf("got exit code %d, want %d", got, code)
	}
	if err = errors.Join(err, differs(s, withoutAges(text))); err != nil {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return err
}

func jsonDiffers(s saying, text string) error {
	var m meshView
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return err
	}
	id, err := strconv.ParseUint(s.instance.ID, 16, 64)
	if got := m.saying(&worker{id: id}); err == nil && !got.equal(s) {
		err = fmt.Errorf("got %+v, want %+v", got, s)
	}
	return err
}

func tableDiffers(s saying, text string) error {
	e, ready := s.endpoint, "ready     yes\n"
	if !s.enough() {
		ready = "ready     no\n"
	}
	wanted := []string{
		"^registry  " + s.discovery + "(:.*)?$",
		"^" + ready,
		fmt.Sprintf("^%s +%d +%d +%d$", e.Endpoint, e.Ready, e.Registered, e.Expected),
	}
	for _, warning := range s.warnings {
		wanted = append(wanted, "^warning: "+regexp.QuoteMeta(plain.Text(warning, longest))+"$")
	}
	if !s.well() {
		wanted = append(wanted, fmt.Sprintf("^%s +%s +%s +[0-9smhd]+ +\\S+ +%s$", e.Endpoint, s.instance.ID, s.words(), regexp.QuoteMeta(plain.Text(s.reason, longest))))
	}
	return lacks(text, wanted)
}

func explainDiffers(s saying, text string) error {
	words := s.words()
	if s.instance.Verdict == "ready" && !s.instance.Verified {
		words += ", not verified"
	}
	wanted := []string{
		fmt.Sprintf("^%s of %s is %s$", s.instance.ID, s.endpoint.Endpoint, words),
		"^why\n  - " + regexp.QuoteMeta(plain.Text(s.reason, longest)) + "$",
	}
	if s.discovery != "synced" {
		wanted = append(wanted, "^registry  "+s.discovery+" since ")
	}
	return lacks(text, wanted)
}

// lacks returns which of these patterns a text has nothing of.
func lacks(text string, patterns []string) (err error) {
	for _, pattern := range patterns {
		if !regexp.MustCompile("(?m)" + pattern).MatchString(text) {
			err = errors.Join(err, fmt.Errorf("nothing like %q", pattern))
		}
	}
	return err
}

// withoutAges takes out of a text what commands put beside times.
func withoutAges(text string) string {
	const age = `(?:in )?\d+[smhd](?:\d\ds)?(?: ago)?`
	text = regexp.MustCompile(`(Z) \(`+age+`\)`).ReplaceAllString(text, "$1")
	return regexp.MustCompile(`(Z \()`+age+`; `).ReplaceAllString(text, "$1")
}
