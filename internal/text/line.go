package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const ellipsis = "…"

// Line returns s as one line of valid UTF-8 with at most limit bytes, of which an ellipsis is the
// last where something is left out. Each run of white space and of characters that do not show
// (controls, marks of writing direction) becomes one space. A long text costs no more than a line
// of it. The limit is at least 3, which the ellipsis takes.
func Line(s string, limit int) string {
	whole := len(s) <= 4*limit
	s = strings.ToValidUTF8(s[:min(len(s), 4*limit)], "\uFFFD")
	s = strings.Join(strings.FieldsFunc(s, hidden), " ")
	if len(s) <= limit && whole {
		return s
	}
	n := min(len(s), limit-len(ellipsis))
	for n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + ellipsis
}

// Shows says whether all of a text shows, and as it stands: it is valid UTF-8 without controls,
// marks of writing direction, or other characters that do not show. Spaces may be in it, line ends
// not.
func Shows(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) })
}

// hidden says whether a character shows nothing, or moves what others show.
func hidden(r rune) bool {
	return unicode.IsSpace(r) || !unicode.IsGraphic(r)
}
