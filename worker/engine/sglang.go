package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/dynmesh/dynmesh/canary/kind"
	"github.com/dynmesh/dynmesh/canary/pairs"
)

// sglang is sgl-project/sglang. Sources, as of 2026:
//
//   - python/sglang/srt/entrypoints/http_server.py: OpenAI's API and one of its own. The canary is
//     the request that its own /health_generate makes: token 0, max_new_tokens 1. /generate's
//     streams end with [DONE], too, after {"error":{"message":…}} where there was one. A request
//     that was given up has {"meta_info":{"finish_reason":{"type":"abort"}}}. /model_info
//     (/get_model_info in older versions) says whether the model generates; all routes are in
//     /openapi.json, whatever it does. /health generates, too.
//   - python/sglang/srt/disaggregation/decode.py, prefill.py: one of a pair refuses what names no
//     room where the two meet (400, "received without bootstrap room id"). To what is for nobody,
//     FAKE_BOOTSTRAP_HOST, it answers alone, and so its /health_generate asks. /server_info
//     (/get_server_info) has its arguments.
//   - python/sglang/srt/observability/metrics_collector.py: the counters, with --enable-metrics.
//     generation_tokens_total is counted when a request ends; realtime_tokens_total, which newer
//     versions have, and the gauges with every log line of the scheduler: each chunk of a prefill,
//     and each 40th step of decoding. num_requests_total is left out, since requests that were
//     aborted are in it, too.
func sglang() Engine {
	return Engine{
		Name:        "sglang",
		version:     versionAt{"/get_server_info", "version"},
		Ready:       modelsPath,
		ListsModels: true,
		owner:       "sglang",
		counter:     "sglang:",
		kinds: []kind.Kind{
			sglangGenerate(),
			kind.Completions().WithBody(`{"model":{model},"prompt":"Test",` + counted), kind.Chat(),
			kind.Embeddings(), kind.Rerank(), kind.Score().WithBody(`{"model":{model},"query":"Test","items":["Test"],"label_token_ids":[0]}`),
			kind.Responses(),
		},
		serves:  sglangServes,
		errorIn: sglangError,
		Counters: Counters{Path: "/metrics", Stepwise: true, Hint: "SGLang has counters with --enable-metrics", Series: []Series{
			{Counts: InFlight, Name: "sglang:num_running_reqs"},
			{Counts: InFlight, Name: "sglang:num_queue_reqs"},
			{Counts: Tokens, Name: "sglang:generation_tokens_total"},
			{Counts: Tokens, Name: "sglang:realtime_tokens_total", InPrefill: true},
			{Counts: Gauge, Name: "sglang:token_usage", InPrefill: true},
			{Counts: Aborted, Name: "sglang:num_aborted_requests_total"},
			{Counts: TokenCount, Name: "sglang:inter_token_latency_seconds_count"},
			{Counts: TokenSeconds, Name: "sglang:inter_token_latency_seconds_sum"},
			{Counts: FirstCount, Name: "sglang:time_to_first_token_seconds_count"},
			{Counts: FirstSeconds, Name: "sglang:time_to_first_token_seconds_sum"},
			{Counts: PromptTokens, Name: "sglang:prompt_tokens_total"},
		}},
	}
}

// sglangGenerate is a request of the native API.
func sglangGenerate() kind.Kind {
	return kind.Kind{
		Name: "generate", Path: "/generate", Fields: []string{"text", "input_ids", "input_embeds"}, Streams: true,
		Body: `{"input_ids":[0],"sampling_params":{"temperature":0,"max_new_tokens":1},"stream":true}`,
	}
}

// sglangServes tells models that generate from those that do not.
func sglangServes(ask Ask, _ string) ([]kind.Kind, error) {
	e := sglang()
	var info struct {
		Generates *bool `json:"is_generation"`
	}
	if !ask("/model_info").json(&info) && !ask("/get_model_info").json(&info) || info.Generates == nil {
		return e.kinds, nil
	}
	if *info.Generates {
		return []kind.Kind{sglangAlone(ask, e.kinds[0])}, nil
	}
	return []kind.Kind{kind.Embeddings(), kind.Rerank()}, nil
}

// sglangAlone is a kind as one of a pair answers it alone.
func sglangAlone(ask Ask, k kind.Kind) kind.Kind {
	var server struct {
		Mode string `json:"disaggregation_mode"`
	}
	knows := func(path string) bool { return ask(path).json(&server) }
	if !slices.ContainsFunc(pairs.ServerPaths(), knows) || server.Mode != "prefill" && server.Mode != "decode" {
		return k
	}
	return k.WithBody(fmt.Sprintf(`%s,"bootstrap_host":%q,"bootstrap_room":0}`, strings.TrimSuffix(k.Body, "}"), pairs.Nobody))
}

// sglangError finds the end of a request that was given up.
func sglangError(chunk []byte) string {
	var c struct {
		Meta struct {
			FinishReason struct {
				Type    string `json:"type"`
				Message string `json:"message"`
			} `json:"finish_reason"`
		} `json:"meta_info"`
	}
	if json.Unmarshal(chunk, &c) != nil || c.Meta.FinishReason.Type != "abort" {
		return ""
	}
	return fmt.Sprintf("finish reason abort: %s", c.Meta.FinishReason.Message)
}
