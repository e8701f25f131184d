package plain

import (
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// ellipsis stands for what was cut off.
const ellipsis = "…"

// Text returns s as one line of valid UTF-8 with at most limit characters, of which an ellipsis is
// the last where s is longer. Whatever is no printable character (controls, of both kinds; marks of
// writing direction; bytes that are no text) becomes a question mark, and so does a mark that
// combines with the character before, when others do already: a tower of them covers the lines
// above.
func Text[S ~string](text S, limit int) string {
	s := string(text)
	var b strings.Builder
	marks := 0
	for written := 1; s != ""; written++ {
		r, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		if written == limit && s != "" {
			b.WriteString(ellipsis)
			break
		}
		if unicode.Is(unicode.M, r) {
			marks++
		} else {
			marks = 0
		}
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) || marks > 1 {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// JSON returns a JSON document with all that is not plain ASCII written as escapes, which is the
// same document: in JSON only strings can hold it. A terminal can show it.
func JSON(document []byte) []byte {
	const hex = "0123456789abcdef"
	out := make([]byte, 0, len(document)+len(document)/16)
	escape := func(unit uint16) {
		out = append(out, '\\', 'u', hex[unit>>12], hex[unit>>8&15], hex[unit>>4&15], hex[unit&15])
	}
	for len(document) > 0 {
		r, size := utf8.DecodeRune(document)
		document = document[size:]
		switch {
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			escape(uint16(high))
			escape(uint16(low))
		case r >= 0x7f:
			escape(uint16(r))
		case r < ' ' && r != '\n' && r != '\t' && r != '\r':
			escape(uint16(r)) // not JSON, so it matters only that nothing gets through
		default:
			out = append(out, byte(r))
		}
	}
	return out
}
