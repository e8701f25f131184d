package engine

import (
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/dynmesh/dynmesh/canary/kind"
)

// triton is triton-inference-server/server. Sources, as of 2025:
//
//   - docs/protocol/extension_generate.md: the model is in the path, an error {"error":"…"} may
//     come after status 200, and the stream just ends. What is not text_input goes to the model as
//     a tensor of that name, or else as a parameter; these names are those of the TensorRT-LLM
//     backend's ensemble. The vLLM backend wants {"text_input":…,"parameters":{…}}, which only an
//     override can say.
//   - KServe's v2 protocol: /v2/health/ready; /v2 has the server's name; /v2/models/M has the
//     inputs that a model wants. One without text_input gets tensors of zeros at /infer.
//   - docs/user_guide/metrics.md: a port of its own, and nothing of a request but its beginning and
//     its end. What runs is known by the backends for language models only:
//     triton-inference-server/tensorrtllm_backend, README.md (Triton Metrics), and vllm_backend,
//     which has vLLM's names.
func triton() Engine {
	model := []string{"{model}"} // other models' requests say nothing of this one
	return Engine{
		Name:   "triton",
		Ready:  "/v2/health/ready",
		Health: "/v2/health/ready",
		isIt:   isTriton,
		kinds:  []kind.Kind{tritonGenerate(), kind.Infer()},
		serves: tritonServes,
		Counters: Counters{Port: "8002", Path: "/metrics", Series: append([]Series{
			{Counts: Queued, Name: "nv_inference_pending_request_count", Label: "model", Values: model},
			{Counts: InFlight, Name: "nv_trt_llm_request_metrics", Label: "request_type", Values: []string{"active"}},
			{Counts: Tokens, Name: "nv_inference_exec_count", Label: "model", Values: model},
			{Counts: Completed, Name: "nv_inference_request_success", Label: "model", Values: model},
			{Counts: Failed, Name: "nv_inference_request_failure", Label: "model", Values: model},
		}, vllmSeries()...)},
	}
}

func isTriton(ask Ask) bool {
	var server struct {
		Name string `json:"name"`
	}
	return ask("/v2").json(&server) && server.Name == "triton"
}

func tritonGenerate() kind.Kind {
	return kind.Kind{
		Name: "triton", Path: "/v2/models/{model}/generate_stream", Fields: []string{"text_input"},
		Body: `{"text_input":"Test","max_tokens":1,"temperature":0,"bad_words":"","stop_words":"","stream":true}`,
	}
}

// tritonServes knows by its inputs whether a model takes texts.
func tritonServes(ask Ask, model string) ([]kind.Kind, error) {
	if model == "" {
		return nil, errors.New("which of Triton's models is meant is for DYN_MODEL to say")
	}
	answer := ask("/v2/models/" + url.PathEscape(model))
	var metadata struct {
		Inputs *[]struct {
			Name string `json:"name"`
		} `json:"inputs"`
	}
	if !answer.json(&metadata) || metadata.Inputs == nil {
		return []kind.Kind{tritonGenerate()}, nil
	}
	for _, in := range *metadata.Inputs {
		if slices.Contains([]string{"text_input", "prompt"}, in.Name) {
			return []kind.Kind{tritonGenerate()}, nil
		}
	}
	body, err := kind.InferBody(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("no canary can be made: %w", err)
	}
	return []kind.Kind{kind.Infer().WithBody(body)}, nil
}
