package expect

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Result is whether a fleet has what is expected. As JSON it is what a frontend answers at /ready.
type Result struct {
	Discovery    string    `json:"discovery"` // syncing, synced or stale
	Expectations []Outcome `json:"expectations"`
	Ready        bool      `json:"ready"`   // the registry has been read, and every expectation holds
	Reasons      []string  `json:"reasons"` // one line each; none when Ready
}

// Outcome is whether one expectation holds.
type Outcome struct {
	Endpoint   string `json:"endpoint"` // as expected: any part may be *
	Have       int    `json:"have"`     // instances that count
	OK         bool   `json:"ok"`
	Registered int    `json:"registered"`
	Verified   bool   `json:"verified,omitempty"` // only verified ones count
	Want       int    `json:"want"`
}

// Expectation returns what was expected.
func (o Outcome) Expectation() Expectation {
	return Expectation{Endpoint: o.Endpoint, Want: o.Want, Verified: o.Verified}
}

// AppendJSON appends r as /ready answers it, without a line end.
func (r Result) AppendJSON(dst []byte) []byte {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false) // reasons are for people, who read them with curl
	if err := out.Encode(r); err != nil {
		panic(err) // unreachable: strings, numbers and booleans always marshal
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// String returns one line for people.
func (r Result) String() string {
	if r.Ready {
		return "ready"
	}
	return "not ready: " + strings.Join(r.Reasons, "; ")
}
