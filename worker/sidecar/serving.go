package sidecar

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/dynmesh/dynmesh/canary/kind"
	"github.com/dynmesh/dynmesh/worker/engine"
)

// serving is what is known of the engine: which it is, and what it serves. It is a value, and never
// changed: the next look makes another.
type serving struct {
	engine engine.Engine
	model  string
	kinds  []kind.Kind // that a canary can be, the likeliest first
	passed bool        // the first of them has passed
	why    string      // there are no kinds

	// recognized: it has shown that it is an engine, so that what it refuses it does not serve. What
	// answers 404 to everything may be no engine at all.
	recognized bool
}

// without is what is left when the engine has refused a kind.
func (s serving) without(name string) serving {
	s.kinds = slices.DeleteFunc(slices.Clone(s.kinds), func(k kind.Kind) bool { return k.Name == name })
	if len(s.kinds) == 0 {
		s.why = "it refuses all requests that a canary can be: " + strings.Join(kind.Names(), ", ")
	}
	return s
}

// maxAnswer bounds what is read of an answer about an engine, in bytes. One with a thousand
// adapters has some hundred kilobytes of models.
const maxAnswer = 4 << 20

// inquiry asks the engine, and remembers what it said, for one look at it. It is for one goroutine.
type inquiry struct {
	ctx    context.Context
	client client
	absent *absent // nil: it is asked for what it did not have before, too

	said map[string]engine.Answer
	errs map[string]error
}

// ask is an [engine.Ask].
func (a *inquiry) ask(path string) engine.Answer {
	if said, ok := a.said[path]; ok {
		return said
	}
	said, err := a.get(path)
	if a.said == nil {
		a.said, a.errs = map[string]engine.Answer{}, map[string]error{}
	}
	a.said[path], a.errs[path] = said, err
	return said
}

func (a *inquiry) get(path string) (engine.Answer, error) {
	if a.absent != nil && a.absent.has(path) {
		return engine.Answer{Status: http.StatusNotFound}, nil
	}
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	resp, err := a.client.get(ctx, a.client.url(path), "")
	if err != nil {
		return engine.Answer{}, err
	}
	defer resp.Body.Close()
	said := engine.Answer{Status: resp.StatusCode, Server: resp.Header.Get("Server")}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		if resp.StatusCode == http.StatusNotFound && a.absent != nil {
			a.absent.add(path)
		}
		said.Body = readPrefix(resp.Body, cancel, maxErrorBody, errorWait)
		return said, nil
	}
	if said.Body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); err != nil {
		return engine.Answer{}, err
	}
	if len(said.Body) > maxAnswer {
		return engine.Answer{}, &malformedError{"the answer is longer than 4 MiB"}
	}
	return said, nil
}

// absent are the routes that an engine does not have, so that it is not asked for them each time:
// it would log that. It is emptied when the engine comes anew.
type absent struct {
	mu    sync.Mutex
	paths map[string]bool
}

func (a *absent) has(path string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.paths[path]
}

func (a *absent) add(path string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.paths == nil {
		a.paths = map[string]bool{}
	}
	a.paths[path] = true
}

func (a *absent) clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.paths)
}

// errNobody says that an engine that was looked for did not answer, for no reason that is known.
var errNobody = errors.New("the engine does not answer")

// find finds out what the engine is, and what it serves. known is what was found before, and still
// holds, but for its model and kinds; its engine has no name where that is to be found out.
func (m *monitor) find(ctx context.Context, known engine.Engine) (serving, error) {
	a := &inquiry{ctx: ctx, client: m.client}
	if known.Name == "" {
		var ok bool
		if known, ok = engine.Detect(a.ask); !ok {
			return serving{}, a.failure(modelsPath)
		}
	}
	found := serving{engine: known, model: m.cfg.Model}
	models, err := m.models(a, known)
	if err != nil {
		return serving{}, err
	}
	if !m.fixed {
		found.model = m.choose(models)
	}
	if before, ok := m.current(); ok && before.recognized && before.engine.Name == known.Name && before.model == found.model {
		return before, nil // what it serves is known, and it would log each question
	}
	found.recognized = models != nil || known.Name != engine.Fallback || a.ask("/openapi.json").Status == http.StatusOK
	if found.kinds, err = m.cfg.kinds(a.ask, known, found.model); err != nil {
		found.kinds, found.why = nil, err.Error()
	} else if len(found.kinds) == 0 {
		found.why = "nothing that it serves can be asked for by a canary"
	} else if !m.fixed && known.ListsModels && models != nil && len(models) == 0 {
		found.kinds, found.why = nil, "it lists no model"
	}
	return found, nil
}

const modelsPath = "/v1/models"

// failure is why a path got no answer.
func (a *inquiry) failure(path string) error {
	if err := a.errs[path]; err != nil {
		return err
	}
	return errNobody
}

// models asks whether the engine serves, and for the models that it lists; nil where it lists none.
func (m *monitor) models(a *inquiry, e engine.Engine) ([]engine.Model, error) {
	if e.Ready == "" { // nothing is known of it, so that any answer will do
		if a.ask("/").Status == 0 {
			return nil, a.failure("/")
		}
		return nil, nil
	}
	said := a.ask(e.Ready)
	switch {
	case said.Status == 0:
		return nil, a.failure(e.Ready)
	case e.ListsModels && said.Status/100 == 4 && (m.fixed || m.auto && said.Status == http.StatusNotFound):
		return nil, nil // it has no list, or none for us, and needs none
	case said.Status < 200 || said.Status > 299:
		return nil, newStatusError(said.Status, said.Body)
	case m.fixed || !e.ListsModels:
		return nil, nil
	}
	models, err := engine.ParseModels(said.Body)
	if err != nil {
		return nil, &malformedError{err.Error() + ": " + excerpt(said.Body)}
	}
	return models, nil
}

// choose keeps to the model that was found before, while it is as good as any.
func (m *monitor) choose(models []engine.Model) string {
	if len(models) == 0 {
		return ""
	}
	before := m.modelName()
	for _, other := range models {
		if other.ID == before && other.Status.Value == models[0].Status.Value {
			return before
		}
	}
	return models[0].ID // vLLM has the base model first, and adapters after it
}
