package text

import (
	"bytes"
	"encoding/json"
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
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
