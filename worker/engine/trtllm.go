package engine

// trtllm is NVIDIA/TensorRT-LLM behind trtllm-serve. Sources, as of 2025:
//
//   - docs/source/commands/trtllm-serve.rst, tensorrt_llm/serve/openai_protocol.py: OpenAI's API,
//     whose completions want the model's name.
//   - tensorrt_llm/metrics/collector.py: the counters. The gauges need enable_iter_perf_stats:
//     _torch/pyexecutor/py_executor.py takes them at the beginning of a step. The counters of
//     requests need return_perf_metrics.
//   - tensorrt_llm/executor/result.py: the reasons to finish.
func trtllm() Engine {
	bad := []string{"cancelled", "timeout"}
	return Engine{
		Name:        "trtllm",
		Ready:       "/v1/models",
		ListsModels: true,
		NeedsModel:  true,
		EndsInDone:  true,
		canary:      `{"model":{model},"prompt":"Test",` + completion,
		route:       openaiRoute,
		Counters: Counters{Path: "/prometheus/metrics", Stepwise: true, Series: []Series{
			{Counts: InFlight, Name: "trtllm_num_requests_running"},
			{Counts: InFlight, Name: "trtllm_num_requests_waiting"},
			{Counts: Tokens, Name: "trtllm_generation_tokens_total"},
			{Counts: Gauge, Name: "trtllm_iteration_latency_seconds"},
			{Counts: Completed, Name: "trtllm_request_success_total", Label: "finished_reason", Values: bad, Except: true},
			{Counts: Aborted, Name: "trtllm_request_success_total", Label: "finished_reason", Values: bad},
			{Counts: Failed, Name: "trtllm_request_error_total"},
		}},
	}
}
