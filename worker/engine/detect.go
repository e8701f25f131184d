package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/dynmesh/dynmesh/canary/kind"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Ask asks a server for a path, by GET. It may remember answers: what is asked twice is asked for
// once.
type Ask func(path string) Answer

// Answer is what a server says to a GET. Status 0 says that it did not answer.
type Answer struct {
	Status int
	Server string // the header
	Body   []byte // as much of it as may be of interest
}

// json reads the answer into a value, and says whether it is there and fits.
func (a Answer) json(v any) bool {
	return a.Status == http.StatusOK && json.Unmarshal(a.Body, v) == nil
}

// Model is an entry of OpenAI's list of models.
type Model struct {
	ID      string `json:"id"`
	OwnedBy string `json:"owned_by"`
	Status  struct {
		Value string   `json:"value"`
		Args  []string `json:"args"`
	} `json:"status"` // of llama.cpp's router; zero elsewhere

	Root string `json:"root"` // of vLLM and SGLang: where its files are
	Meta struct {
		Parameters uint64 `json:"n_params"`
		Size       uint64 `json:"size"`
	} `json:"meta"` // of llama.cpp
}

// versionAt is where an engine tells its version; zero: nowhere that is known.
type versionAt struct{ path, member string }

// Revision is what tells apart what answers, as far as the engine says: its version, and of its
// model the last part of the path of its files (a hub has the commit there), and its size.
func (e Engine) Revision(ask Ask, model string) []string {
	parts := []string{e.Name, model, "", "", ""}
	var members map[string]json.RawMessage
	if e.version.path != "" && ask(e.version.path).json(&members) {
		parts[2] = string(members[e.version.member])
	}
	if e.ListsModels {
		models, _ := ParseModels(ask(modelsPath).Body) // one that is not listed says nothing of itself
		for _, m := range models {
			if m.ID == model {
				parts[3], parts[4] = path.Base(m.Root), fmt.Sprint(m.Meta)
			}
		}
	}
	return parts
}

// maxModelName bounds a model's name, in bytes; the longest of a model hub have some hundred.
const maxModelName = 512

// ParseModels reads OpenAI's list of models. A name that does not fit a log line and a request's
// path is none. Where the server says of some that they are loaded, they come first.
func ParseModels(body []byte) ([]Model, error) {
	var list struct {
		Data *[]Model `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("list of models: %w", err)
	}
	if list.Data == nil {
		return nil, fmt.Errorf("list of models: it has no data")
	}
	models := slices.DeleteFunc(*list.Data, func(m Model) bool {
		return m.ID == "" || text.Line(m.ID, maxModelName) != m.ID
	})
	if len(*list.Data) > 0 && len(models) == 0 {
		return nil, fmt.Errorf("list of models: it has no name that could be used")
	}
	slices.SortStableFunc(models, func(a, b Model) int { return loadedFirst(a) - loadedFirst(b) })
	return models, nil
}

func loadedFirst(m Model) int {
	if m.Status.Value == "loaded" {
		return 0
	}
	return 1
}

// modelsPath is OpenAI's list of models.
const modelsPath = "/v1/models"

// Detect finds out which engine answers. It asks what engines answer without work, and as little of
// it as tells: first who owns the models, then what only one kind of engine has, then the names of
// its counters. A server that answers and is none of those is openai's kind. ok is false where
// nobody has answered.
func Detect(ask Ask) (e Engine, ok bool) {
	list := ask(modelsPath)
	if list.Status == 0 {
		return Engine{}, false
	}
	if list.Status == http.StatusOK {
		models, _ := ParseModels(list.Body) // where there is no list, nobody owns its models
		for _, e := range all() {
			if e.owner != "" && slices.ContainsFunc(models, func(m Model) bool { return m.OwnedBy == e.owner }) {
				return e, true
			}
		}
	}
	for _, e := range all() {
		if e.isIt != nil && e.isIt(ask) {
			return e, true
		}
	}
	for _, e := range all() {
		if e.counter != "" && hasCounter(ask(e.Counters.Path).Body, e.counter) {
			return e, true
		}
	}
	return openai(), true
}

// hasCounter says whether a name in a text of Prometheus begins with prefix.
func hasCounter(exposition []byte, prefix string) bool {
	return bytes.HasPrefix(exposition, []byte(prefix)) || bytes.Contains(exposition, []byte("\n"+prefix)) ||
		bytes.Contains(exposition, []byte("# HELP "+prefix))
}

// Kinds are the kinds of requests that the engine serves, as far as it says, the likeliest first.
// None: it serves nothing that a canary could ask for. Where it does not say, all that it may serve
// are in it, and whoever asks learns which it refuses. Its errors are for the operator.
func (e Engine) Kinds(ask Ask, model string) ([]kind.Kind, error) {
	if e.serves != nil {
		return e.serves(ask, model)
	}
	var api struct {
		Paths map[string]json.RawMessage `json:"paths"`
	}
	if !ask("/openapi.json").json(&api) || len(api.Paths) == 0 {
		return e.kinds, nil
	}
	return slices.DeleteFunc(slices.Clone(e.kinds), func(k kind.Kind) bool { return api.Paths[k.Path] == nil }), nil
}

// IsUnsupported says whether an engine that answered a request with an error does not serve its
// kind at all. Those that are asked for a model that they do not have also answer 404.
func IsUnsupported(status int, message string) bool {
	message = strings.ToLower(message)
	switch {
	case status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		return true
	case status < 400 || status > 499:
		return false
	case strings.Contains(message, "not support"), strings.Contains(message, "not a generative model"),
		strings.Contains(message, "only supports"), strings.Contains(message, "not oai compatible"):
		return true
	}
	return status == http.StatusNotFound && !strings.Contains(message, "model")
}

// Rest is whether an engine rests, so that a canary would be more than a question.
type Rest uint8

// The states.
const (
	Awake   Rest = iota
	Idles        // it is awake, and rests when it has been idle for long: each request puts that off
	Dozes        // it has been idle for long, and its next request wakes it
	Loads        // its next request has it load its model
	Loading      // it loads; requests wait for that
	Sleeps       // it serves nothing until somebody wakes it by other means
)

// Rests asks the engine whether it rests. The detail is for people.
func (e Engine) Rests(ask Ask, model string) (rest Rest, detail string) {
	if e.rests == nil {
		return Awake, ""
	}
	return e.rests(ask, model)
}
