package sidecar

import (
	"net"
	"net/url"
	"strings"
)

// counters says where an engine has its Prometheus counters, and which of them tell what.
type counters struct {
	port   string // "" is the engine's own
	path   string
	series []series

	// stepwise: the engine sets its gauges when its scheduler takes a step, and an idle one takes none, so that they show the
	// last step's requests for ever, or for half a minute with SGLang. When nothing moves, they are doubtful: canaries go out, and
	// one that is late may have stood in line behind a long step. What no counter shows is the step that an idle engine begins
	// with, until its end: where steps are longer than a canary's timeout (prefills that are not chunked), the traffic should
	// pass through the proxy.
	stepwise bool
}

// series is one name of the table. Its samples are added up, whatever their labels, but for those of one label.
type series struct {
	what   quantity
	name   string
	label  string   // "" takes all
	values []string // those that count, or with except those that do not; {model} is the model's name
	except bool
}

// quantity is what a series counts.
type quantity uint8

const (
	inFlight  quantity = iota // gauge: requests under way, waiting ones included
	queued                    // gauge: the same seen from elsewhere; the larger of the two is right
	tokens                    // counter: work that is done for requests
	beat                      // gauge: each change is work that is done
	completed                 // counter: requests that ended well
	abandoned                 // counter: requests that ended otherwise, by no fault of the engine
	failures                  // counter: requests that the engine failed
	quantities
)

// vllmCounters: vllm-project/vllm, vllm/v1/metrics/loggers.py and stats.py. vllm:prompt_tokens_total is left out on purpose: V1
// adds a prompt's tokens together with the first generated one, so it shows nothing that the other does not, and where it
// is counted on arrival it would have requests that hang vouch for the engine. vLLM shows nothing of a prefill before its
// end.
func vllmCounters() counters {
	return counters{path: "/metrics", series: vllmSeries()}
}

func vllmSeries() []series {
	bad := []string{"abort", "error"} // vllm/v1/engine/__init__.py, FinishReason
	return []series{
		{what: inFlight, name: "vllm:num_requests_running"},
		{what: inFlight, name: "vllm:num_requests_waiting"},
		{what: tokens, name: "vllm:generation_tokens_total"},
		{what: completed, name: "vllm:request_success_total", label: "finished_reason", values: bad, except: true},
		{what: abandoned, name: "vllm:request_success_total", label: "finished_reason", values: bad[:1]},
		{what: failures, name: "vllm:request_success_total", label: "finished_reason", values: bad[1:]},
	}
}

// sglangCounters: sgl-project/sglang, docs/references/production_metrics.md and python/sglang/srt/metrics/collector.py, with
// --enable-metrics. generation_tokens_total is counted when a request ends; realtime_tokens_total, which newer versions have,
// with every log line of the scheduler: each prefill, and each 40th step of decoding. num_requests_total is left out, since
// requests that were aborted are in it, too.
func sglangCounters() counters {
	return counters{path: "/metrics", stepwise: true, series: []series{
		{what: inFlight, name: "sglang:num_running_reqs"},
		{what: inFlight, name: "sglang:num_queue_reqs"},
		{what: tokens, name: "sglang:generation_tokens_total"},
		{what: tokens, name: "sglang:realtime_tokens_total"},
		{what: abandoned, name: "sglang:num_aborted_requests_total"},
	}}
}

// trtllmCounters: NVIDIA/TensorRT-LLM, tensorrt_llm/metrics/collector.py, at /prometheus/metrics of trtllm-serve. The gauges
// need enable_iter_perf_stats: _torch/pyexecutor/py_executor.py takes them at the beginning of a step. The counters of
// requests need return_perf_metrics.
func trtllmCounters() counters {
	bad := []string{"cancelled", "timeout"} // tensorrt_llm/executor/result.py
	return counters{path: "/prometheus/metrics", stepwise: true, series: []series{
		{what: inFlight, name: "trtllm_num_requests_running"},
		{what: inFlight, name: "trtllm_num_requests_waiting"},
		{what: tokens, name: "trtllm_generation_tokens_total"},
		{what: beat, name: "trtllm_iteration_latency_seconds"},
		{what: completed, name: "trtllm_request_success_total", label: "finished_reason", values: bad, except: true},
		{what: abandoned, name: "trtllm_request_success_total", label: "finished_reason", values: bad},
		{what: failures, name: "trtllm_request_error_total"},
	}}
}

// tritonCounters: triton-inference-server/server, docs/user_guide/metrics.md: a port of its own, and nothing of a request but
// its beginning and its end. What runs is known by the backends for language models only: triton-inference-server/
// tensorrtllm_backend, README.md (Triton Metrics), and vllm_backend, which has vLLM's names.
func tritonCounters() counters {
	ours := []string{"{model}"} // other models' requests say nothing of this one
	return counters{port: "8002", path: "/metrics", series: append([]series{
		{what: queued, name: "nv_inference_pending_request_count", label: "model", values: ours},
		{what: inFlight, name: "nv_trt_llm_request_metrics", label: "request_type", values: []string{"active"}},
		{what: tokens, name: "nv_inference_exec_count", label: "model", values: ours},
		{what: completed, name: "nv_inference_request_success", label: "model", values: ours},
		{what: failures, name: "nv_inference_request_failure", label: "model", values: ours},
	}, vllmSeries()...)}
}

// url is where the counters of an engine are by default.
func (c counters) url(base *url.URL) string {
	if c.port == "" {
		return join(base, c.path)
	}
	return (&url.URL{Scheme: base.Scheme, User: base.User, Host: net.JoinHostPort(base.Hostname(), c.port), Path: c.path}).String()
}

// index has the series of a table by their names.
type index map[string][]series

func (c counters) index(model string) index {
	x := index{}
	for _, s := range c.series {
		values := make([]string, len(s.values))
		for i, v := range s.values {
			values[i] = strings.ReplaceAll(v, "{model}", model)
		}
		s.values = values
		x[s.name] = append(x[s.name], s)
	}
	return x
}
