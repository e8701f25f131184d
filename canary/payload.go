package canary

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
)

// Payload is the smallest real request of an engine: one token, temperature 0, streamed.
type Payload struct {
	Path     string          // of the URL, from its root
	Body     json.RawMessage // a JSON object
	WantDone bool            // the engine ends its streams with [DONE]
}

// payload is one line of the table.
type payload struct {
	engine    string
	path      string // {model} is the model's name
	body      string // {model} is the model's name in quotes
	needsName bool
	wantDone  bool
}

// payloads is the table. Sources, as of 2025:
//
//   - vllm: its OpenAI server takes a list of token IDs for a prompt, as OpenAI's does, and the model's name may be missing
//     (vllm/entrypoints/openai, CompletionRequest). ID 1 is what Dynamo's canary falls back to for vLLM
//     (ai-dynamo/dynamo, components/src/dynamo/vllm/health_check.py); a text would need --skip-tokenizer-init to be off.
//     Errors within a stream are {"error":…} events, and [DONE] follows.
//   - sglang: its native route, and the request that its own /health_generate makes: token 0, max_new_tokens 1
//     (sgl-project/sglang, python/sglang/srt/entrypoints/http_server.py, which ends /generate's streams with [DONE], too, and
//     sends {"error":{"message":…}} before it).
//   - trtllm: trtllm-serve is an OpenAI server, whose completions want the model's name
//     (NVIDIA/TensorRT-LLM, docs/source/commands/trtllm-serve.rst, tensorrt_llm/serve/openai_protocol.py).
//   - openai: OpenAI's API reference, POST /v1/completions.
//   - triton: the generate extension (triton-inference-server/server, docs/protocol/extension_generate.md): the model is in the
//     path, an error may come after status 200, and the stream just ends. What is not text_input goes to the model as a
//     tensor of that name, or else as a parameter; these names are those of the TensorRT-LLM backend's ensemble.
//     The vLLM backend wants {"text_input":…,"parameters":{…}}, which only an override can say.
func payloads() []payload {
	const completion = `"temperature":0,"max_tokens":1,"stream":true}`
	return []payload{
		{engine: "vllm", path: "/v1/completions", body: `{"model":{model},"prompt":[1],` + completion, wantDone: true},
		{engine: "sglang", path: "/generate", wantDone: true,
			body: `{"input_ids":[0],"sampling_params":{"temperature":0,"max_new_tokens":1},"stream":true}`},
		{engine: "trtllm", path: "/v1/completions", body: `{"model":{model},"prompt":"Test",` + completion, needsName: true, wantDone: true},
		{engine: "openai", path: "/v1/completions", body: `{"model":{model},"prompt":"Test",` + completion, needsName: true, wantDone: true},
		{engine: "triton", path: "/v2/models/{model}/generate_stream", needsName: true,
			body: `{"text_input":"Test","max_tokens":1,"temperature":0,"bad_words":"","stop_words":"","stream":true}`},
	}
}

// Engines lists the engines that [PayloadFor] knows.
func Engines() []string {
	var names []string
	for _, p := range payloads() {
		names = append(names, p.engine)
	}
	return names
}

// PayloadFor returns the payload of an engine. model is the name that the engine serves its model under; it may be
// "" where the engine does not ask for one. An unknown engine, and a name that is missing, are errors.
func PayloadFor(engine, model string) (Payload, error) {
	for _, p := range payloads() {
		if p.engine != engine {
			continue
		}
		if model == "" && p.needsName {
			return Payload{}, fmt.Errorf("payload for engine %q: the model's name is missing", engine)
		}
		body := strings.Replace(p.body, `"model":{model},`, "", 1)
		if model != "" {
			name, err := json.Marshal(model)
			if err != nil {
				return Payload{}, fmt.Errorf("payload for engine %q: %w", engine, err) // unreachable: a string marshals
			}
			body = strings.Replace(p.body, "{model}", string(name), 1)
		}
		return Payload{
			Path:     strings.Replace(p.path, "{model}", url.PathEscape(model), 1),
			Body:     json.RawMessage(body),
			WantDone: p.wantDone,
		}, nil
	}
	return Payload{}, fmt.Errorf("payload for engine %q: want one of %s", engine, strings.Join(Engines(), ", "))
}

// maxPayload bounds an override, in bytes.
const maxPayload = 1 << 20

// ParsePayload reads a payload that replaces an engine's: a JSON object, or @file for one in a file
// (DYN_HEALTH_CHECK_PAYLOAD). Anything else is an error of one line.
func ParsePayload(s string) (json.RawMessage, error) {
	body, err := parsePayload(s)
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	return body, nil
}

func parsePayload(s string) (json.RawMessage, error) {
	data, from := []byte(s), oneLine(s)
	if name, ok := strings.CutPrefix(s, "@"); ok {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // it was only read
		if data, err = io.ReadAll(io.LimitReader(file, maxPayload+1)); err != nil {
			return nil, err
		}
		from = "the content of " + oneLine(name)
	}
	if len(data) > maxPayload {
		return nil, fmt.Errorf("%.80s: it is larger than %d bytes", from, maxPayload)
	}
	var body bytes.Buffer
	if err := json.Compact(&body, data); err != nil {
		return nil, fmt.Errorf("%.80s: want a JSON object, or @FILE with one: %w", from, err)
	}
	if body.Len() == 0 || body.Bytes()[0] != '{' {
		return nil, fmt.Errorf("%.80s: want a JSON object, or @FILE with one", from)
	}
	return body.Bytes(), nil
}
