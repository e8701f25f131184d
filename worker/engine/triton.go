package engine

import "net/url"

// triton is triton-inference-server/server. Sources, as of 2025:
//
//   - docs/protocol/extension_generate.md: the model is in the path, an error {"error":"…"} may
//     come after status 200, and the stream just ends. What is not text_input goes to the model as
//     a tensor of that name, or else as a parameter; these names are those of the TensorRT-LLM
//     backend's ensemble. The vLLM backend wants {"text_input":…,"parameters":{…}}, which only an
//     override can say.
//   - KServe's v2 protocol: /v2/health/ready.
//   - docs/user_guide/metrics.md: a port of its own, and nothing of a request but its beginning and
//     its end. What runs is known by the backends for language models only:
//     triton-inference-server/tensorrtllm_backend, README.md (Triton Metrics), and vllm_backend,
//     which has vLLM's names.
func triton() Engine {
	model := []string{"{model}"} // other models' requests say nothing of this one
	return Engine{
		Name:       "triton",
		Ready:      "/v2/health/ready",
		NeedsModel: true,
		canary:     `{"text_input":"Test","max_tokens":1,"temperature":0,"bad_words":"","stop_words":"","stream":true}`,
		route: func(_ []byte, model string) string {
			return "/v2/models/" + url.PathEscape(model) + "/generate_stream"
		},
		Counters: Counters{Port: "8002", Path: "/metrics", Series: append([]Series{
			{Counts: Queued, Name: "nv_inference_pending_request_count", Label: "model", Values: model},
			{Counts: InFlight, Name: "nv_trt_llm_request_metrics", Label: "request_type", Values: []string{"active"}},
			{Counts: Tokens, Name: "nv_inference_exec_count", Label: "model", Values: model},
			{Counts: Completed, Name: "nv_inference_request_success", Label: "model", Values: model},
			{Counts: Failed, Name: "nv_inference_request_failure", Label: "model", Values: model},
		}, vllmSeries()...)},
	}
}
