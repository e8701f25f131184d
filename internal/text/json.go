package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON returns v as JSON. Unlike json.Marshal it leaves < > & as they are: HTML is not what is
// being written. It panics on values that json cannot encode.
func JSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // a mistake in the program: types are chosen there
	}
	return EscapeJSON(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// EscapeJSON returns a JSON document in which all characters of texts that do not show are written
// as escapes, which is the same document. So it can be shown on a terminal, and logged.
func EscapeJSON(document []byte) []byte {
	if !slices.ContainsFunc(document, func(b byte) bool { return b >= 0x7f }) {
		return document // what is below a space is escaped in texts, and white space elsewhere
	}
	out := make([]byte, 0, len(document)+16)
	for rest := document; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r < utf8.RuneSelf && r != 0x7f, unicode.IsGraphic(r):
			out = append(out, rest[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, "\\u%04x\\u%04x", high, low)
		default:
			out = fmt.Appendf(out, "\\u%04x", r)
		}
		rest = rest[size:]
	}
	return out
}
