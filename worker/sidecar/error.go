package sidecar

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"
)

// maxText bounds what is kept of an engine's error, in bytes.
const maxText = 1 << 10

// Error is what the engine made of a request: an error status, an error in the middle of a stream, or an answer that
// cannot be passed on.
type Error struct {
	Status int    // 400 to 599; 502 where the engine named none, 503 where nobody listens
	Text   string // one line of at most 1 KiB
	Err    error  // the cause, where there is one
}

// Error is the text, after the status where the engine sent it.
func (e *Error) Error() string { return "engine: " + e.Text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// StatusCode is the status that a client should see.
func (e *Error) StatusCode() int { return e.Status }

// badGateway is an answer that cannot be passed on.
func badGateway(cause error, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadGateway, Text: oneLine([]byte(fmt.Sprintf(format, args...)), maxText), Err: cause}
}

// refused is an answer with an error status. What is not an error to a client would be no error to the worker.
func refused(status int, body []byte) *Error {
	e := &Error{Status: status, Text: oneLine([]byte(fmt.Sprintf("status %d: %s", status, cmp.Or(errorText(body), http.StatusText(status)))), maxText)}
	if status < 400 || status > 599 {
		e.Status = http.StatusBadGateway
	}
	return e
}

// errorText finds the message in an error answer, in the forms of OpenAI, vLLM (now and before), FastAPI and Triton.
func errorText(body []byte) string {
	var c struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
		Detail  json.RawMessage `json:"detail"`
	}
	var inner struct {
		Message string `json:"message"`
	}
	var text string
	if json.Unmarshal(body, &c) == nil {
		if json.Unmarshal(c.Error, &inner) != nil && json.Unmarshal(c.Error, &text) != nil && json.Unmarshal(c.Detail, &text) != nil {
			text = string(c.Detail)
		}
	}
	return oneLine([]byte(cmp.Or(inner.Message, text, c.Message, string(body))), maxText)
}

// oneLine makes what an engine sent fit for logs and error texts: one line of valid UTF-8, of at most n bytes.
func oneLine(text []byte, n int) string {
	s := strings.ToValidUTF8(string(text[:min(len(text), 4*n)]), "\uFFFD")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f && r <= 0xa0 }), " ")
	if len(s) <= n {
		return s
	}
	const more = "…"
	n -= len(more)
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + more
}
