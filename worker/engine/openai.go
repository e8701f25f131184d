package engine

import "github.com/dynmesh/dynmesh/canary/kind"

// openai is any server with OpenAI's API (API reference, POST /v1/completions). Those that have
// counters tend to take over vLLM's names.
func openai() Engine {
	return Engine{
		Name:        Fallback,
		Ready:       modelsPath,
		ListsModels: true,
		kinds:       []kind.Kind{kind.Completions(), kind.Chat(), kind.Embeddings(), kind.Rerank(), kind.Score(), kind.Responses()},
		Counters:    Counters{Path: "/metrics", Optional: true, Series: vllmSeries()},
	}
}
