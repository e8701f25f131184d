package engine

import (
	"cmp"
	"encoding/json"

	"github.com/dynmesh/dynmesh/canary/kind"
)

// vllm is vllm-project/vllm. Sources, as of 0.32:
//
//   - vllm/entrypoints/openai, CompletionRequest: a prompt may be a list of token IDs, and the
//     model's name may be missing.
//   - ai-dynamo/dynamo, components/src/dynamo/vllm/health_check.py: ID 1 is what Dynamo's canary
//     falls back to. A text would need --skip-tokenizer-init to be off.
//   - vllm/entrypoints/openai/api_server.py: /openapi.json has the routes of the tasks that the
//     model supports. Older versions have all of them, and refuse the others: "does not support".
//   - vllm/entrypoints/serve/dev/sleep: /is_sleeping is there with VLLM_SERVER_DEV_MODE, as is
//     /sleep. What sleeps does not wake up for requests.
//   - vllm/entrypoints/serve/instrumentator/health.py: /health is 503 for EngineDeadError only. A
//     request has to wait for what is left of the engine meanwhile.
//   - vllm/v1/metrics/loggers.py: the label engine tells data-parallel engines apart.
//   - vllm/entrypoints/openai, _get_data_parallel_rank: the header X-data-parallel-rank has one of
//     them answer.
//   - Errors within a stream are {"error":…} events, and [DONE] follows. Older versions have
//     {"object":"error","message":…}.
func vllm() Engine {
	return Engine{
		Name:        "vllm",
		version:     versionAt{"/version", "version"},
		Ready:       modelsPath,
		Health:      "/health",
		Dies:        true,
		ListsModels: true,
		owner:       "vllm",
		counter:     "vllm:",
		kinds: []kind.Kind{
			kind.Completions().WithBody(`{"model":{model},"prompt":[1],` + counted),
			kind.Chat().WithBody(`{"model":{model},"messages":[{"role":"user","content":"Test"}],` + counted),
			kind.Embeddings(), kind.Rerank(), kind.Score(), kind.Classify(), kind.Responses(),
		},
		errorIn:    vllmError,
		rests:      vllmRests,
		Counters:   Counters{Path: "/metrics", Series: vllmSeries(), Rank: "engine"},
		RankHeader: "X-data-parallel-rank",
	}
}

// counted is the end of a body that asks for one token, streamed, and for the count of tokens.
const counted = `"temperature":0,"max_tokens":1,"stream":true,"stream_options":{"include_usage":true}}`

// vllmError finds the error of older versions.
func vllmError(chunk []byte) string {
	var c struct {
		Object  string `json:"object"`
		Message string `json:"message"`
	}
	if json.Unmarshal(chunk, &c) != nil || c.Object != "error" {
		return ""
	}
	return cmp.Or(c.Message, "an error without a message")
}

func vllmRests(ask Ask, _ string) (Rest, string) {
	var answer struct {
		Sleeps bool `json:"is_sleeping"`
	}
	if ask("/is_sleeping").json(&answer) && answer.Sleeps {
		return Sleeps, "it sleeps until POST /wake_up"
	}
	return Awake, ""
}

// vllmSeries are those of vllm/v1/metrics/loggers.py and stats.py; the reasons to finish are those
// of vllm/v1/engine/__init__.py, FinishReason.
//
// vllm:prompt_tokens_total does not count as work. V1 adds a prompt's tokens together with the
// first generated one, so it shows nothing that the other does not. Where it is counted on arrival,
// it would have requests that hang vouch for the engine.
//
// Within a prefill that is chunked, only the KV cache's usage moves: iteration_tokens_total, a
// histogram, counts the iterations that bring a token.
func vllmSeries() []Series {
	bad := []string{"abort", "error"}
	return []Series{
		{Counts: InFlight, Name: "vllm:num_requests_running"},
		{Counts: InFlight, Name: "vllm:num_requests_waiting"},
		{Counts: Tokens, Name: "vllm:generation_tokens_total"},
		{Counts: Steps, Name: "vllm:iteration_tokens_total_count"},
		{Counts: Gauge, Name: "vllm:kv_cache_usage_perc", InPrefill: true},
		{Counts: Gauge, Name: "vllm:gpu_cache_usage_perc", InPrefill: true}, // the same, in versions before 0.9
		{Counts: Completed, Name: "vllm:request_success_total", Label: "finished_reason", Values: bad, Except: true},
		{Counts: Aborted, Name: "vllm:request_success_total", Label: "finished_reason", Values: bad[:1]},
		{Counts: Failed, Name: "vllm:request_success_total", Label: "finished_reason", Values: bad[1:]},
		{Counts: Corrupted, Name: "vllm:corrupted_requests_total"}, // with VLLM_COMPUTE_NANS_IN_LOGITS=1
		{Counts: TokenCount, Name: "vllm:inter_token_latency_seconds_count"},
		{Counts: TokenSeconds, Name: "vllm:inter_token_latency_seconds_sum"},
		{Counts: TokenCount, Name: "vllm:time_per_output_token_seconds_count"}, // the same, in versions before 0.11
		{Counts: TokenSeconds, Name: "vllm:time_per_output_token_seconds_sum"},
		{Counts: FirstCount, Name: "vllm:time_to_first_token_seconds_count"},
		{Counts: FirstSeconds, Name: "vllm:time_to_first_token_seconds_sum"},
		{Counts: PromptTokens, Name: "vllm:prompt_tokens_total"},
	}
}
