package discovery

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// oneLine makes text from a registry fit for people: valid UTF-8 of at most max bytes, where each
// run of white space and of characters that do not show is one space.
func oneLine(s string, max int) string {
	s = strings.ToValidUTF8(s[:min(len(s), 4*max)], "\uFFFD") // what is too long costs no more than a line of it
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || !unicode.IsGraphic(r) }), " ")
	if len(s) <= max {
		return s
	}
	const more = "…"
	n := max - len(more)
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + more
}
