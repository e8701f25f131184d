package engine

import "encoding/json"

// completion is the end of a completion's body: one token, streamed.
const completion = `"temperature":0,"max_tokens":1,"stream":true}`

// openai is any server with OpenAI's API (API reference, POST /v1/completions). Those that have
// counters tend to take over vLLM's names.
func openai() Engine {
	return Engine{
		Name:        "openai",
		Ready:       "/v1/models",
		ListsModels: true,
		NeedsModel:  true,
		EndsInDone:  true,
		canary:      `{"model":{model},"prompt":"Test",` + completion,
		route:       openaiRoute,
		Counters:    Counters{Path: "/metrics", Series: vllmSeries()},
	}
}

// openaiRoute knows chats by their messages.
func openaiRoute(request []byte, _ string) string {
	var has struct {
		Messages present `json:"messages"`
	}
	if json.Unmarshal(request, &has) == nil && bool(has.Messages) {
		return "/v1/chat/completions"
	}
	return "/v1/completions"
}
