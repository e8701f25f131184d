package sidecar

import (
	"encoding/json"
	"net/url"
)

// engine is what a sidecar has to know of a kind of engine. What a canary says to it is in package canary.
type engine struct {
	ready      string // the route that answers once the engine serves
	models     bool   // it is OpenAI's list of models
	needsModel bool   // requests have the model's name in their path
	done       bool   // streams end with [DONE]
	route      func(f fields, model string) string
	metrics    counters
}

// engines is the table. The sources are those of canary's payloads; in addition:
//
//   - sglang: both APIs are served by python/sglang/srt/entrypoints/http_server.py, /v1/models included.
//   - triton: docs/protocol/extension_generate.md, and KServe's v2 protocol for /v2/health/ready.
func engines() map[string]engine {
	const models = "/v1/models"
	return map[string]engine{
		"vllm":   {ready: models, models: true, done: true, route: openai, metrics: vllmCounters()},
		"trtllm": {ready: models, models: true, done: true, route: openai, metrics: trtllmCounters()},
		"openai": {ready: models, models: true, done: true, route: openai, metrics: vllmCounters()}, // those who have any tend to take over vLLM's
		"sglang": {ready: models, models: true, done: true, route: sglang, metrics: sglangCounters()},
		"triton": {ready: "/v2/health/ready", needsModel: true, route: triton, metrics: tritonCounters()},
	}
}

func openai(f fields, _ string) string {
	if f.Messages {
		return "/v1/chat/completions"
	}
	return "/v1/completions"
}

func sglang(f fields, model string) string {
	if f.Text || f.InputIDs || f.InputEmbeds {
		return "/generate"
	}
	return openai(f, model)
}

func triton(_ fields, model string) string {
	return "/v2/models/" + url.PathEscape(model) + "/generate_stream"
}

// fields says which of the fields that tell requests apart are there. Their contents are not kept.
type fields struct {
	Messages    present `json:"messages"`
	Text        present `json:"text"`
	InputIDs    present `json:"input_ids"`
	InputEmbeds present `json:"input_embeds"`
}

// fieldsOf looks at a request. One that cannot be read has none: the engine will say what it thinks of it.
func fieldsOf(request []byte) fields {
	var f fields
	if json.Unmarshal(request, &f) != nil {
		return fields{}
	}
	return f
}

// present is whether there is a value, whatever it is.
type present bool

// UnmarshalJSON takes note of a value.
func (p *present) UnmarshalJSON(value []byte) error {
	*p = string(value) != "null"
	return nil
}
