package snapshot

import (
	"slices"
	"strings"
	"sync"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Models says of each model whether it can be served, by the model cards of workers. It is put
// together when it is first asked for.
type Models struct {
	once      sync.Once
	endpoints []*Endpoint
	byName    map[string]*ModelReadiness
}

// ModelReadiness is an answer at /v1/models/{model}/ready, of Dynamo's shape. Only workers count
// whose verdict is ready.
type ModelReadiness struct {
	Model      string                         `json:"model"`
	Ready      bool                           `json:"ready"`            // in one namespace at least
	Reason     string                         `json:"reason,omitempty"` // why not
	Namespaces map[string]*NamespaceReadiness `json:"namespaces"`
}

// NamespaceReadiness is the same in one namespace: workers of one need each other, and no others.
type NamespaceReadiness struct {
	Ready       bool                            `json:"ready"`
	Reason      string                          `json:"reason,omitempty"`
	WorkerTypes map[string]*WorkerTypeReadiness `json:"worker_types"`
	Present     []string                        `json:"present"` // types with a worker that is ready
	Missing     []string                        `json:"missing_worker_types"`

	untyped, untypedReady bool // there are workers that do not say their type; one of them is ready
}

// WorkerTypeReadiness is the workers of one type.
type WorkerTypeReadiness struct {
	Workers int        `json:"workers"`
	Needs   [][]string `json:"needs"` // types that it needs beside it: all of one of these sets

	needs [][]string // of those that are ready
}

// Of returns what is known of a model; nil if that is nothing.
func (m *Models) Of(name string) *ModelReadiness {
	m.once.Do(m.build)
	return m.byName[name]
}

// JSON is the answer.
func (r *ModelReadiness) JSON() []byte { return text.JSON(r) }

func (m *Models) build() {
	m.byName = map[string]*ModelReadiness{}
	for _, e := range m.endpoints {
		for _, s := range e.Instances() {
			for _, card := range s.Cards() {
				m.count(e.endpoint.Namespace, card, s)
			}
		}
	}
	for _, model := range m.byName {
		for _, n := range model.Namespaces {
			n.conclude()
			model.Ready = model.Ready || n.Ready
		}
		if !model.Ready {
			model.Reason = "no namespace has all the workers that it needs, ready"
		}
	}
	m.endpoints = nil
}

// count adds a worker, if the registry lists it.
func (m *Models) count(namespace string, card *dynmesh.ModelCard, s Status) {
	if !s.Registered {
		return
	}
	model := m.byName[card.Model]
	if model == nil {
		model = &ModelReadiness{Model: card.Model, Namespaces: map[string]*NamespaceReadiness{}}
		m.byName[card.Model] = model
	}
	n := model.Namespaces[namespace]
	if n == nil {
		n = &NamespaceReadiness{WorkerTypes: map[string]*WorkerTypeReadiness{}, Present: []string{}, Missing: []string{}}
		model.Namespaces[namespace] = n
	}
	ready := s.Verdict() == dynmesh.Ready
	if card.WorkerType == "" {
		n.untyped, n.untypedReady = true, n.untypedReady || ready
		return
	}
	t := n.WorkerTypes[card.WorkerType]
	if t == nil {
		t = &WorkerTypeReadiness{Needs: [][]string{}}
		n.WorkerTypes[card.WorkerType] = t
	}
	if len(t.Needs) == 0 && len(card.Needs) > 0 {
		t.Needs = card.Needs
	}
	if ready {
		t.Workers++
		t.needs = card.Needs
	}
}

// conclude says whether a namespace can serve, as Dynamo's frontend does: each type that is
// registered has a worker, and each worker has those beside it that it needs. Where some do not say
// their type, one that is there is enough.
func (n *NamespaceReadiness) conclude() {
	for name, t := range n.WorkerTypes {
		if t.Workers > 0 {
			n.Present = append(n.Present, name)
		}
	}
	slices.Sort(n.Present)
	if n.untyped {
		if n.Ready = n.untypedReady || len(n.Present) > 0; !n.Ready {
			n.Reason = "no worker is ready"
		}
		return
	}
	missing := map[string]bool{}
	for name, t := range n.WorkerTypes {
		if t.Workers == 0 {
			missing[name] = true
			continue
		}
		for _, name := range n.lacks(t.needs) {
			missing[name] = true
		}
	}
	for name := range missing {
		n.Missing = append(n.Missing, name)
	}
	slices.Sort(n.Missing)
	if n.Ready = len(n.Missing) == 0; !n.Ready {
		n.Reason = "missing worker types: " + strings.Join(n.Missing, ", ")
	}
}

// lacks returns the types of which none is present, where no set of those that are needed is.
func (n *NamespaceReadiness) lacks(needs [][]string) (missing []string) {
	absent := func(name string) bool { return !slices.Contains(n.Present, name) }
	for _, set := range needs {
		if !slices.ContainsFunc(set, absent) {
			return nil
		}
		for _, name := range set {
			if absent(name) {
				missing = append(missing, name)
			}
		}
	}
	return missing
}
