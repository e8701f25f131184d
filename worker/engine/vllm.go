package engine

// vllm is vllm-project/vllm. Sources, as of 2025:
//
//   - vllm/entrypoints/openai, CompletionRequest: a prompt may be a list of token IDs, and the
//     model's name may be missing.
//   - ai-dynamo/dynamo, components/src/dynamo/vllm/health_check.py: ID 1 is what Dynamo's canary
//     falls back to. A text would need --skip-tokenizer-init to be off.
//   - Errors within a stream are {"error":…} events, and [DONE] follows. Older versions have
//     {"object":"error","message":…}.
func vllm() Engine {
	return Engine{
		Name:        "vllm",
		Ready:       "/v1/models",
		ListsModels: true,
		EndsInDone:  true,
		canary:      `{"model":{model},"prompt":[1],` + completion,
		route:       openaiRoute,
		Counters:    Counters{Path: "/metrics", Series: vllmSeries()},
	}
}

// vllmSeries are those of vllm/v1/metrics/loggers.py and stats.py; the reasons to finish are those
// of vllm/v1/engine/__init__.py, FinishReason.
//
// vllm:prompt_tokens_total is left out on purpose. V1 adds a prompt's tokens together with the
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
		{Counts: Gauge, Name: "vllm:gpu_cache_usage_perc", InPrefill: true}, // the same, before 0.11
		{Counts: Completed, Name: "vllm:request_success_total", Label: "finished_reason", Values: bad, Except: true},
		{Counts: Aborted, Name: "vllm:request_success_total", Label: "finished_reason", Values: bad[:1]},
		{Counts: Failed, Name: "vllm:request_success_total", Label: "finished_reason", Values: bad[1:]},
	}
}
