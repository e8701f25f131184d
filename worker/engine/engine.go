package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Engine is what a sidecar has to know of a kind of engine. Get one from [Find].
type Engine struct {
	Name string // as DYN_ENGINE has it

	Ready       string // path of the route that answers once the engine serves
	ListsModels bool   // Ready answers with OpenAI's list of models
	NeedsModel  bool   // its canary has to name the model
	EndsInDone  bool   // its streams end with [DONE]

	Counters Counters

	// canary is the body of the smallest real request: one token, temperature 0, streamed. {model}
	// stands for the model's name as JSON.
	canary string

	// route returns the path that a request goes to, judged by its fields. One that cannot be read has
	// none: the engine will say what it thinks of it.
	route func(request []byte, model string) string
}

// all is the table of engines, in the order that they are listed to people.
func all() []Engine { return []Engine{vllm(), sglang(), trtllm(), openai(), triton()} }

// Names lists the engines that [Find] knows.
func Names() []string {
	var names []string
	for _, e := range all() {
		names = append(names, e.Name)
	}
	return names
}

// Find returns the engine of a name. An unknown name is an error that lists those there are.
func Find(name string) (Engine, error) {
	for _, e := range all() {
		if e.Name == name {
			return e, nil
		}
	}
	return Engine{}, fmt.Errorf("engine %q: want one of %s", name, strings.Join(Names(), ", "))
}

// Path is where a request goes, escaped. model is the name that the engine serves its model under.
func (e Engine) Path(request []byte, model string) string { return e.route(request, model) }

// Canary returns the body of the engine's smallest real request. model may be "" unless NeedsModel.
func (e Engine) Canary(model string) (json.RawMessage, error) {
	if model == "" && e.NeedsModel {
		return nil, fmt.Errorf("canary of engine %s: the model's name is missing", e.Name)
	}
	if model == "" {
		return json.RawMessage(strings.Replace(e.canary, `"model":{model},`, "", 1)), nil
	}
	name, err := json.Marshal(model)
	if err != nil {
		return nil, fmt.Errorf("canary of engine %s: %w", e.Name, err) // unreachable: a string marshals
	}
	return json.RawMessage(strings.Replace(e.canary, "{model}", string(name), 1)), nil
}

// Root parses the URL of an engine's root, to which the routes are added. Many know their engine by
// the base URL of its clients, http://HOST:PORT/v1: that /v1 is the routes' own. Errors do not
// repeat the URL, which may have a password.
func Root(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("not the URL of a server")
	}
	path := strings.TrimSuffix(strings.TrimRight(u.EscapedPath(), "/"), "/v1")
	u.RawPath = path
	if u.Path, err = url.PathUnescape(path); err != nil {
		return nil, errors.New("not the URL of a server") // unreachable: it has been parsed
	}
	return u, nil
}

// URL adds an escaped path to an engine's root.
func URL(root *url.URL, path string) string {
	u := *root
	u.RawPath = strings.TrimSuffix(u.EscapedPath(), "/") + path
	u.Path, _ = url.PathUnescape(u.RawPath) // both parts are escaped well
	return u.String()
}

// present is whether a field has a value, whatever it is.
type present bool

// UnmarshalJSON takes note of a value.
func (p *present) UnmarshalJSON(value []byte) error {
	*p = !present(bytes.Equal(value, []byte("null")))
	return nil
}
