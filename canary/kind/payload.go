package kind

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/dynmesh/dynmesh/internal/text"
)

// maxPayload bounds an override, in bytes.
const maxPayload = 1 << 20

const maxExcerpt = 80 // bytes of what cannot be used, in an error about it

// ParsePayload reads a payload that replaces an engine's: a JSON object, or @file for one in a file
// (DYN_HEALTH_CHECK_PAYLOAD). Anything else is an error of one line.
func ParsePayload(s string) (json.RawMessage, error) {
	body, err := parsePayload(s)
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	return body, nil
}

func parsePayload(s string) (json.RawMessage, error) {
	data, from := []byte(s), text.Line(s, maxExcerpt)
	if name, ok := strings.CutPrefix(s, "@"); ok {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // it was only read
		if data, err = io.ReadAll(io.LimitReader(file, maxPayload+1)); err != nil {
			return nil, err
		}
		from = "the content of " + text.Line(name, maxExcerpt)
	}
	if len(data) > maxPayload {
		return nil, fmt.Errorf("%s: it is larger than %d bytes", from, maxPayload)
	}
	var body bytes.Buffer
	if err := json.Compact(&body, data); err != nil {
		return nil, fmt.Errorf("%s: want a JSON object, or @FILE with one: %w", from, err)
	}
	if body.Len() == 0 || body.Bytes()[0] != '{' {
		return nil, fmt.Errorf("%s: want a JSON object, or @FILE with one", from)
	}
	return body.Bytes(), nil
}
