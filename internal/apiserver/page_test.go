package apiserver

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// named is an object of which only the name counts.
type named struct {
	name string
	odd  bool
}

func decodeNamed(decode func(any) error) (*named, error) {
	var o struct {
		Metadata Meta                          `json:"metadata"`
		Spec     struct{ Data map[string]any } `json:"spec"`
	}
	err := decode(&o)
	_, odd := errors.AsType[*json.UnmarshalTypeError](err)
	if err != nil && !odd || o.Metadata.Name == "" {
		return nil, errors.Join(err, errors.New("no name"))
	}
	return &named{o.Metadata.Name, odd}, nil
}

// A page is read object by object: one that is odd takes no other with it, and a page that is cut
// off is none.
func TestReadPage(t *testing.T) {
	const good, odd = `{"metadata":{"name":"p"},"spec":{"data":{"endpoints":null}}}`, `{"metadata":{"name":"q"},"spec":{"data":7}}`
	for _, tt := range []struct{ page, want string }{
		{`{"kind":"List","metadata":{"resourceVersion":"7","continue":"next"},"items":[` + good + `,` + odd + `,` + good + `]}`, "7 next p q! p"},
		{`{"apiVersion":"v1","items":[` + good + `],"kind":"List","metadata":{"resourceVersion":"7"}}`, "7  p"},
		{`{"items":[],"metadata":{"resourceVersion":"8"}}`, "8 "},
		{`{"items":null,"metadata":{"resourceVersion":"8"}}`, "8 "},
		{`{"items":[` + good + `,`, "error"},
		{`{"items":[` + good + `],"metadata":{"resourceVersion":"7"}`, "error"},
		{`{"items":[` + good + `,{"spec":{}}]}`, "error"},
		{`{"items":7}`, "error"},
		{`[` + good + `]`, "error"},
		{`junk`, "error"},
		{``, "error"},
	} {
		p, err := readPage(strings.NewReader(tt.page), decodeNamed)
		got := p.metadata.ResourceVersion + " " + p.metadata.Continue
		for _, o := range p.items {
			got += " " + o.name
			if o.odd {
				got += "!"
			}
		}
		if err != nil {
			got = "error"
		}
		if got != tt.want {
			t.Errorf("%s: got %q (%v), want %q", tt.page, got, err, tt.want)
		}
	}
}
