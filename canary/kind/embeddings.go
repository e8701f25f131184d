package kind

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Embeddings is OpenAI's POST /v1/embeddings. Its answer must be numbers: an engine that computes
// none sends null for them.
func Embeddings() Kind {
	return Kind{
		Name: "embeddings", Path: "/v1/embeddings", Fields: []string{"input", "inputs"},
		Body:   `{"model":{model},"input":"Test"}`,
		Answer: wantVector,
	}
}

func wantVector(document []byte) error {
	var answer struct {
		Data []struct {
			Embedding json.RawMessage `json:"embedding"`
		} `json:"data"`
	}
	if err := json.Unmarshal(document, &answer); err != nil || len(answer.Data) == 0 {
		return errors.New("the answer has no embedding")
	}
	var packed string
	if json.Unmarshal(answer.Data[0].Embedding, &packed) == nil && packed != "" {
		return nil // base64
	}
	var vector []*float64
	if err := json.Unmarshal(answer.Data[0].Embedding, &vector); err != nil || len(vector) == 0 {
		return errors.New("the answer has no embedding")
	}
	for i, v := range vector {
		if v == nil {
			return fmt.Errorf("the embedding has no number at %d", i)
		}
	}
	return nil
}
