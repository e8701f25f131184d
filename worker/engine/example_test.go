package engine_test

import (
	"fmt"
	"strings"

	"github.com/dynmesh/dynmesh/worker/engine"
)

// What is sent to vLLM, and what its counters say.
func Example() {
	vllm, err := engine.Find("vllm")
	if err != nil {
		panic(err)
	}
	kinds, err := vllm.Kinds(func(string) engine.Answer { return engine.Answer{} }, "llama")
	if err != nil {
		panic(err)
	}
	path, body, err := kinds[0].Request("llama")
	fmt.Println("POST", path, err)
	fmt.Println(string(body))

	scrape, err := vllm.Counters.Reader("llama").Read(strings.NewReader(`# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0"} 2
vllm:num_requests_waiting{engine="0"} 1
vllm:generation_tokens_total{engine="0"} 1500 # {trace_id="a"} 1
`))
	fmt.Println(scrape.Totals[engine.InFlight], scrape.Totals[engine.Tokens], err)
	// Output: POST /v1/completions <nil>
	// {"model":"llama","prompt":[1],"temperature":0,"max_tokens":1,"stream":true,"stream_options":{"include_usage":true}}
	// 3 1500 <nil>
}
