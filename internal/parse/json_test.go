package parse_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/dynmesh/dynmesh/internal/parse"
)

func TestJSONError(t *testing.T) {
	type inner struct {
		Many []string `json:"many"`
	}
	for document, want := range map[string]string{
		`{"text":1}`:           "text is a number: want a string",
		`{"yes":"no"}`:         "yes is a string: want true or false",
		`{"count":1.5}`:        "count is a number 1.5: want a whole number",
		`{"size":-1}`:          "size is a number -1: want a whole number, 0 or more",
		`{"part":{}}`:          "part is an object: want a number",
		`{"maybe":[]}`:         "maybe is an array: want a whole number",
		`{"inner":{"many":1}}`: "inner.many is a number: want an array",
		`[1]`:                  "it is an array: want an object",
		`"x"`:                  "it is a string: want an object",
		`{"other":1}`:          `unknown field "other"`,
		`{"text":`:             "unexpected EOF",
		`{text}`:               "invalid character 't' looking for beginning of object key string",
	} {
		var to struct {
			Text  string  `json:"text"`
			Yes   bool    `json:"yes"`
			Count int     `json:"count"`
			Size  uint16  `json:"size"`
			Part  float64 `json:"part"`
			Maybe *int    `json:"maybe"`
			Inner inner   `json:"inner"`
		}
		decoder := json.NewDecoder(bytes.NewReader([]byte(document)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&to); err == nil || parse.JSONError(err).Error() != want {
			t.Errorf("%s: got %v, want %s", document, parse.JSONError(err), want)
		}
	}
}
