package engine

import (
	"slices"
	"time"

	"github.com/dynmesh/dynmesh/canary/kind"
)

// llamacpp is ggml-org/llama.cpp's llama-server, alone or as a router of several models
// (--models-dir). Seen on a build of 2026:
//
//   - It owns its models ("llamacpp"). A route that it was not started for answers 501.
//   - /props says is_sleeping, with --sleep-idle-seconds; the next request wakes it. /props,
//     /v1/models and /health neither wake it nor keep it awake. /metrics does both.
//   - The router lists models with a status (unloaded, loading, loaded, sleeping) and the arguments
//     that they have. Alone it does not say that it may sleep. The next request for a model has it
//     load. Its /metrics wants ?model=, and loads the model but for autoload=false.
//   - The counters are there with --metrics. n_decode_total counts each batch of a prompt, too.
//     tokens_predicted_total moves at a request's end only.
func llamacpp() Engine {
	return Engine{
		Name:        "llamacpp",
		version:     versionAt{"/props", "build_info"},
		Ready:       modelsPath,
		Health:      "/health",
		ListsModels: true,
		owner:       "llamacpp",
		counter:     "llamacpp:",
		isIt:        func(ask Ask) bool { return ask(modelsPath).Server == "llama.cpp" },
		kinds:       []kind.Kind{kind.Rerank(), kind.Embeddings(), kind.Completions(), kind.Chat()},
		serves:      llamacppServes,
		rests:       llamacppRests,
		Counters: Counters{
			Path: "/metrics?model={model}&autoload=false", Hint: "llama-server has counters with --metrics",
			Wakes: true, Every: 1200 * time.Millisecond,
			Series: []Series{
				{Counts: InFlight, Name: "llamacpp:requests_processing"},
				{Counts: InFlight, Name: "llamacpp:requests_deferred"},
				{Counts: Tokens, Name: "llamacpp:tokens_predicted_total"},
				{Counts: Steps, Name: "llamacpp:n_decode_total", InPrefill: true},
				{Counts: TokenCount, Name: "llamacpp:tokens_predicted_total"},
				{Counts: TokenSeconds, Name: "llamacpp:tokens_predicted_seconds_total"},
			},
		},
	}
}

// llamacppServes has all kinds tried, what a server must have been started for before the rest: it
// says of no model what it is for, but for the routes that it refuses.
func llamacppServes(Ask, string) ([]kind.Kind, error) { return llamacpp().kinds, nil }

func llamacppRests(ask Ask, model string) (Rest, string) {
	var props struct {
		Role   string `json:"role"`
		Sleeps bool   `json:"is_sleeping"`
	}
	if !ask("/props").json(&props) {
		return Awake, ""
	}
	if props.Role != "router" {
		if props.Sleeps {
			return Dozes, "it sleeps until its next request"
		}
		return Awake, ""
	}
	models, _ := ParseModels(ask(modelsPath).Body) // without a list, nothing rests
	i := slices.IndexFunc(models, func(m Model) bool { return m.ID == model })
	if i < 0 {
		return Awake, ""
	}
	switch models[i].Status.Value {
	case "unloaded":
		return Loads, "its model is not loaded until its next request"
	case "sleeping":
		return Dozes, "its model sleeps until its next request"
	case "loading":
		return Loading, "it loads its model"
	}
	if slices.Contains(models[i].Status.Args, "--sleep-idle-seconds") {
		return Idles, "its model may fall asleep"
	}
	return Awake, ""
}
