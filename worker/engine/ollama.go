package engine

import (
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh/canary/kind"
)

// ollama is ollama/ollama. Sources, as of 2025:
//
//   - docs/openai.md: OpenAI's API. docs/api.md: GET /api/ps lists the models that are loaded. One
//     is loaded by the first request for it, which is begun anew where its client leaves, and
//     unloaded when it has been idle for OLLAMA_KEEP_ALIVE, 5 minutes.
//   - server/routes.go: GET / answers "Ollama is running"; what a model cannot do is refused with
//     "does not support". It has no counters.
func ollama() Engine {
	return Engine{
		Name:        "ollama",
		version:     versionAt{"/api/version", "version"},
		Ready:       modelsPath,
		ListsModels: true,
		isIt:        func(ask Ask) bool { return strings.HasPrefix(string(ask("/").Body), "Ollama is running") },
		kinds:       []kind.Kind{kind.Completions(), kind.Chat(), kind.Embeddings()},
		serves:      func(Ask, string) ([]kind.Kind, error) { return ollama().kinds, nil },
		rests:       ollamaRests,
	}
}

// stays is a time that nobody sets to have a model unloaded after it.
const stays = 365 * 24 * time.Hour

func ollamaRests(ask Ask, model string) (Rest, string) {
	type loaded struct {
		Name      string    `json:"name"`
		Model     string    `json:"model"`
		ExpiresAt time.Time `json:"expires_at"` // centuries ahead, where it is to stay
	}
	var list struct {
		Models *[]loaded `json:"models"`
	}
	if !ask("/api/ps").json(&list) || list.Models == nil {
		return Awake, ""
	}
	i := slices.IndexFunc(*list.Models, func(l loaded) bool { return l.Name == model || l.Model == model })
	switch {
	case i < 0:
		return Loads, "its model is not loaded until its next request"
	case time.Until((*list.Models)[i].ExpiresAt) > stays:
		return Awake, ""
	}
	return Idles, "its model may be unloaded"
}
