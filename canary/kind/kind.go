package kind

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Kind is one kind of request, and what its answer must be. It is a value; an engine whose form of
// it differs changes its copy.
type Kind struct {
	Name string // as DYN_HEALTH_CHECK_KIND has it
	Path string // where it goes; {model} stands for the model's name, escaped

	// Body is the smallest request of the kind: one token, temperature 0, streamed where that can be.
	// {model} stands for the model's name as JSON; the member "model" is left out where it is not
	// known. Empty: a GET.
	Body string

	// Fields tell a payload of this kind: it has one of them.
	Fields []string

	// Streams says that its streams end with [DONE] or after a reason to finish, so that one that
	// broke off is known.
	Streams bool

	// Answer says what an answer of one document lacks. Nil: it must not be empty, and where it has
	// choices, one of them must say something.
	Answer func(document []byte) error

	payload json.RawMessage // the operator's own, in Body's place
}

// all is the table of kinds, in the order that they are listed to people.
func all() []Kind {
	return []Kind{Completions(), Chat(), Embeddings(), Rerank(), Score(), Classify(), Responses(), Infer()}
}

// Names lists the kinds that [Find] knows.
func Names() []string {
	var names []string
	for _, k := range all() {
		names = append(names, k.Name)
	}
	return names
}

// Find returns the kind of a name.
func Find(name string) (Kind, error) {
	for _, k := range all() {
		if k.Name == name {
			return k, nil
		}
	}
	return Kind{}, fmt.Errorf("kind %q: want one of %s", name, strings.Join(Names(), ", "))
}

// Has says whether a payload is of this kind, by its fields.
func (k Kind) Has(payload json.RawMessage) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(payload, &fields) != nil {
		return false
	}
	for _, name := range k.Fields {
		if v, ok := fields[name]; ok && !bytes.Equal(v, []byte("null")) {
			return true
		}
	}
	return false
}

// errNoModel says that a kind cannot be asked for without a name.
var errNoModel = errors.New("the model's name is not known: DYN_MODEL gives it")

// Request returns where the kind's smallest request goes, and its body; nil is a GET.
func (k Kind) Request(model string) (path string, body json.RawMessage, err error) {
	if model == "" && strings.Contains(k.Path, "{model}") {
		return "", nil, fmt.Errorf("kind %s: %w", k.Name, errNoModel)
	}
	path = strings.ReplaceAll(k.Path, "{model}", url.PathEscape(model))
	if k.payload != nil {
		return path, slices.Clone(k.payload), nil
	}
	if k.Body == "" {
		return path, nil, nil
	}
	if model == "" {
		return path, json.RawMessage(strings.Replace(k.Body, `"model":{model},`, "", 1)), nil
	}
	name, err := json.Marshal(model)
	if err != nil {
		return "", nil, fmt.Errorf("kind %s: %w", k.Name, err) // unreachable: a string marshals
	}
	return path, json.RawMessage(strings.Replace(k.Body, "{model}", string(name), 1)), nil
}

// WithBody is the kind with another body.
func (k Kind) WithBody(body string) Kind {
	k.Body = body
	return k
}

// WithPayload is the kind with a payload of the operator's own, which is sent as it is.
func (k Kind) WithPayload(payload json.RawMessage) Kind {
	k.payload = payload
	return k
}

// wantList is the Answer of kinds whose answer is a list, or an object with one under one of these
// names.
func wantList(names ...string) func([]byte) error {
	return func(document []byte) error {
		var list []json.RawMessage
		if json.Unmarshal(document, &list) == nil && len(list) > 0 {
			return nil
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(document, &object) == nil {
			for _, name := range names {
				if json.Unmarshal(object[name], &list) == nil && len(list) > 0 {
					return nil
				}
			}
		}
		return fmt.Errorf("the answer has no %s", strings.Join(names, ", and no "))
	}
}
