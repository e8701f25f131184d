package engine

import "encoding/json"

// sglang is sgl-project/sglang. Sources, as of 2025:
//
//   - python/sglang/srt/entrypoints/http_server.py: both APIs, /v1/models included. The canary is
//     the request that its own /health_generate makes: token 0, max_new_tokens 1. /generate's
//     streams end with [DONE], too, after {"error":{"message":…}} where there was one. A request
//     that was given up has {"meta_info":{"finish_reason":{"type":"abort"}}}.
//   - docs/references/production_metrics.md, python/sglang/srt/metrics/collector.py: the counters,
//     with --enable-metrics. generation_tokens_total is counted when a request ends;
//     realtime_tokens_total, which newer versions have, with every log line of the scheduler: each
//     prefill, and each 40th step of decoding. num_requests_total is left out, since requests that
//     were aborted are in it, too.
func sglang() Engine {
	return Engine{
		Name:        "sglang",
		Ready:       "/v1/models",
		ListsModels: true,
		EndsInDone:  true,
		canary:      `{"input_ids":[0],"sampling_params":{"temperature":0,"max_new_tokens":1},"stream":true}`,
		route:       sglangRoute,
		Counters: Counters{Path: "/metrics", Stepwise: true, Series: []Series{
			{Counts: InFlight, Name: "sglang:num_running_reqs"},
			{Counts: InFlight, Name: "sglang:num_queue_reqs"},
			{Counts: Tokens, Name: "sglang:generation_tokens_total"},
			{Counts: Tokens, Name: "sglang:realtime_tokens_total"},
			{Counts: Aborted, Name: "sglang:num_aborted_requests_total"},
		}},
	}
}

// sglangRoute knows requests of the native API by its three forms of a prompt.
func sglangRoute(request []byte, model string) string {
	var has struct {
		Text        present `json:"text"`
		InputIDs    present `json:"input_ids"`
		InputEmbeds present `json:"input_embeds"`
	}
	if json.Unmarshal(request, &has) == nil && bool(has.Text || has.InputIDs || has.InputEmbeds) {
		return "/generate"
	}
	return openaiRoute(request, model)
}
