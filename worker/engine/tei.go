package engine

import (
	"encoding/json"
	"fmt"

	"github.com/dynmesh/dynmesh/canary/kind"
)

// tei is huggingface/text-embeddings-inference. Sources, as of 2026:
//
//   - router/src/lib.rs: GET /info has model_type: embedding, reranker or classifier.
//   - router/src/http: POST /v1/embeddings is OpenAI's; /rerank has {"query","texts"} and /predict
//     {"inputs"}, both of which answer with a list. Errors are {"error":"…","error_type":"…"}; one
//     that is full answers 429. There is no list of models.
//   - core/src/infer.rs, queue.rs: the counters. What runs is not among them, only what waits.
func tei() Engine {
	rerank := kind.Rerank().WithBody(`{"query":"Test","texts":["Test"]}`)
	rerank.Path = "/rerank"
	return Engine{
		Name:   "tei",
		Ready:  "/info",
		Health: "/health",
		isIt: func(ask Ask) bool {
			var info teiInfo
			return ask("/info").json(&info) && info.ModelType != nil && info.MaxClientBatchSize > 0
		},
		kinds:  []kind.Kind{kind.Embeddings(), rerank, teiPredict()},
		serves: teiServes,
		Counters: Counters{Path: "/metrics", Series: []Series{
			{Counts: InFlight, Name: "te_queue_size"},
			{Counts: Completed, Name: "te_request_success"},
			{Counts: Steps, Name: "te_batch_next_size_count"},
			{Counts: Failed, Name: "te_request_failure", Label: "err", Values: []string{"inference"}},
		}},
	}
}

type teiInfo struct {
	ModelType          json.RawMessage `json:"model_type"`
	MaxClientBatchSize int             `json:"max_client_batch_size"`
}

func teiPredict() kind.Kind {
	k := kind.Classify().WithBody(`{"inputs":"Test"}`)
	k.Path = "/predict"
	return k
}

// teiServes knows the kind by the type of the model, which is a word, or an object with one member.
func teiServes(ask Ask, _ string) ([]kind.Kind, error) {
	e := tei()
	var info teiInfo
	if !ask("/info").json(&info) {
		return e.kinds, nil
	}
	var word string
	if json.Unmarshal(info.ModelType, &word) != nil {
		var object map[string]json.RawMessage
		if json.Unmarshal(info.ModelType, &object) == nil && len(object) == 1 {
			for word = range object {
			}
		}
	}
	switch word {
	case "embedding":
		return e.kinds[:1], nil
	case "reranker":
		return e.kinds[1:2], nil
	case "classifier":
		return e.kinds[2:], nil
	}
	return nil, fmt.Errorf("model_type in /info: %.80s: no canary is known for it", info.ModelType)
}
