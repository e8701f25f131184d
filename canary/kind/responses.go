package kind

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Responses is OpenAI's POST /v1/responses. OpenAI takes no fewer than 16 tokens.
func Responses() Kind {
	return Kind{
		Name: "responses", Path: "/v1/responses", Fields: []string{"max_output_tokens", "instructions"},
		Body:   `{"model":{model},"input":"Test","temperature":0,"max_output_tokens":16,"store":false}`,
		Answer: wantResponse,
	}
}

func wantResponse(document []byte) error {
	var answer struct {
		Status string            `json:"status"`
		Output []json.RawMessage `json:"output"`
		Usage  struct {
			OutputTokens *float64 `json:"output_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(document, &answer); err != nil || len(answer.Output) == 0 {
		return errors.New("the response has no output")
	}
	if answer.Status == "failed" || answer.Status == "cancelled" {
		return fmt.Errorf("the response's status is %s", answer.Status)
	}
	if n := answer.Usage.OutputTokens; n != nil && *n == 0 {
		return errors.New("the response has 0 tokens")
	}
	return nil
}
