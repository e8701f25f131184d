package answers_test

import (
	"encoding/json"
	"fmt"

	"github.com/dynmesh/dynmesh/canary/answers"
)

func ExampleRead() {
	s, ok := answers.Read([]byte(`{"choices":[{"text":" Paris","logprobs":{"tokens":[" Paris"],"token_logprobs":[-0.25],"top_logprobs":[{" Paris":-0.25," Lyon":-4}]}}]}`))
	fmt.Println(ok, len(s.Tokens), s.Ties, s.Logprob)
	// Output: true 1 0 -25
}

func ExampleRequest() {
	body, _ := answers.Request(0, false, "llama", true)
	var fields struct {
		Prompt    string `json:"prompt"`
		MaxTokens int    `json:"max_tokens"`
	}
	_ = json.Unmarshal(body, &fields)
	fmt.Printf("%q, %d tokens\n", fields.Prompt, fields.MaxTokens)
	// Output: "1, 2, 3, 4, 5, 6, 7, 8,", 24 tokens
}
