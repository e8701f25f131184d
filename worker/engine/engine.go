package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/dynmesh/dynmesh/canary/kind"
)

// Engine is what a sidecar has to know of a kind of engine. Get one from [Find] or [Detect].
type Engine struct {
	Name string // as DYN_ENGINE has it

	Ready       string // path of the route that answers once the engine serves
	Health      string // path of a route that is cheap to ask, and answers 503 once the engine is dead; "" where there is none
	Dies        bool   // Health says 503 of an engine that is dead for good, and of no other
	ListsModels bool   // Ready answers with OpenAI's list of models
	Counters    Counters
	RankHeader  string // of requests: which of the engines behind the server is to answer, counted from 0; "" where it cannot be said

	version versionAt
	kinds   []kind.Kind // that it may serve, the likeliest first
	errorIn func(chunk []byte) string

	// How it is told from others: by who owns its models, by the beginning of a counter's name, or by
	// asking.
	owner, counter string
	isIt           func(Ask) bool

	serves func(ask Ask, model string) ([]kind.Kind, error) // nil: what /openapi.json has of kinds, else all of them
	rests  func(ask Ask, model string) (Rest, string)       // nil: it never does
}

// Auto stands for whichever engine is found. Custom is one of which nothing is known: it is asked
// what the operator says.
const (
	Auto   = "auto"
	Custom = "custom"
)

// Fallback is the name of the engine that [Detect] takes a server for of which it knows nothing.
const Fallback = "openai"

// all is the table of engines, in the order that they are listed to people, and told from each
// other.
func all() []Engine {
	return []Engine{vllm(), sglang(), trtllm(), llamacpp(), triton(), tei(), ollama(), openai()}
}

// Names lists what DYN_ENGINE may be.
func Names() []string {
	names := []string{Auto}
	for _, e := range all() {
		names = append(names, e.Name)
	}
	return append(names, Custom)
}

// Find returns the engine of a name. An unknown name is an error that lists those there are; Auto
// is for [Detect].
func Find(name string) (Engine, error) {
	for _, e := range all() {
		if e.Name == name {
			return e, nil
		}
	}
	if name == Custom {
		return Engine{Name: Custom}, nil
	}
	return Engine{}, fmt.Errorf("engine %q: want one of %s", name, strings.Join(Names(), ", "))
}

// Kind is the kind of a payload of the operator's own, by its fields; else the likeliest.
func (e Engine) Kind(payload json.RawMessage) kind.Kind {
	for _, k := range e.kinds {
		if k.Has(payload) {
			return k
		}
	}
	if len(e.kinds) == 0 {
		return kind.Completions()
	}
	return e.kinds[0]
}

// Form is the engine's own form of a kind.
func (e Engine) Form(k kind.Kind) kind.Kind {
	if i := slices.IndexFunc(e.kinds, func(own kind.Kind) bool { return own.Name == k.Name }); i >= 0 {
		return e.kinds[i]
	}
	return k
}

// ErrorIn finds an error in a form of the engine's own in a chunk of its answers; "" where there is
// none. Forms that most engines share are package canary's.
func (e Engine) ErrorIn(chunk []byte) string {
	if e.errorIn == nil {
		return ""
	}
	return e.errorIn(chunk)
}
