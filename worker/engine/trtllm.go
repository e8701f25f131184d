package engine

import "github.com/dynmesh/dynmesh/canary/kind"

// trtllm is NVIDIA/TensorRT-LLM behind trtllm-serve. Sources, as of 2026:
//
//   - docs/source/commands/trtllm-serve.rst, tensorrt_llm/serve/openai_protocol.py: OpenAI's API,
//     whose completions want the model's name.
//   - tensorrt_llm/serve/openai_server.py: /prometheus/metrics has the counters. /metrics is not
//     asked: it hands out what has gathered of statistics, once.
//   - tensorrt_llm/metrics/collector.py: the counters. The gauges need enable_iter_perf_stats:
//     _torch/pyexecutor/py_executor.py takes them at the beginning of a step. The counters of
//     requests need return_perf_metrics.
//   - tensorrt_llm/executor/result.py: the reasons to finish.
func trtllm() Engine {
	bad := []string{"cancelled", "timeout"}
	return Engine{
		Name:        "trtllm",
		version:     versionAt{"/version", "version"},
		Ready:       modelsPath,
		Health:      "/health",
		ListsModels: true,
		owner:       "tensorrt_llm",
		counter:     "trtllm_",
		kinds: []kind.Kind{
			kind.Completions().WithBody(`{"model":{model},"prompt":"Test",` + counted), kind.Chat(),
			kind.Embeddings(), kind.Rerank(), kind.Responses(),
		},
		Counters: Counters{
			Path: "/prometheus/metrics", Stepwise: true,
			Hint: "TensorRT-LLM has counters with return_perf_metrics and enable_iter_perf_stats",
			Series: []Series{
				{Counts: InFlight, Name: "trtllm_num_requests_running"},
				{Counts: InFlight, Name: "trtllm_num_requests_waiting"},
				{Counts: Tokens, Name: "trtllm_generation_tokens_total"},
				{Counts: Gauge, Name: "trtllm_iteration_latency_seconds", InPrefill: true},
				{Counts: Gauge, Name: "trtllm_kv_cache_utilization", InPrefill: true},
				{Counts: Completed, Name: "trtllm_request_success_total", Label: "finished_reason", Values: bad, Except: true},
				{Counts: Aborted, Name: "trtllm_request_success_total", Label: "finished_reason", Values: bad},
				{Counts: Failed, Name: "trtllm_request_error_total"},
				{Counts: TokenCount, Name: "trtllm_time_per_output_token_seconds_count"},
				{Counts: TokenSeconds, Name: "trtllm_time_per_output_token_seconds_sum"},
				{Counts: FirstCount, Name: "trtllm_time_to_first_token_seconds_count"},
				{Counts: FirstSeconds, Name: "trtllm_time_to_first_token_seconds_sum"},
				{Counts: PromptTokens, Name: "trtllm_prompt_tokens_total"},
			},
		},
	}
}
