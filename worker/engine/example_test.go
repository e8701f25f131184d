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
	canary, err := vllm.Canary("llama")
	if err != nil {
		panic(err)
	}
	fmt.Println("POST", vllm.Path(canary, "llama"))
	fmt.Println(string(canary))

	scrape, err := vllm.Counters.Reader("llama").Read(strings.NewReader(`# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0"} 2
vllm:num_requests_waiting{engine="0"} 1
vllm:generation_tokens_total{engine="0"} 1500 # {trace_id="a"} 1
`))
	fmt.Println(scrape.Totals[engine.InFlight], scrape.Totals[engine.Tokens], err)
	// Output:
	// POST /v1/completions
	// {"model":"llama","prompt":[1],"temperature":0,"max_tokens":1,"stream":true}
	// 3 1500 <nil>
}
