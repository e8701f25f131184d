package engine

import (
	"testing"

	"github.com/dynmesh/dynmesh/internal/text"
)

// Whatever a server answers, it is taken for some engine, and what it says of itself fits a line.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{vllmModels, llamaRouter, embeddingInfo, rerankerInfo, classifierInfo, `{"name":"triton"}`, `{"data":null}`, `{"data":[{"id":"a\u001b"}]}`, "vllm:x 1\n", "Ollama is running"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		everywhere := func(string) Answer { return Answer{Status: 200, Body: body} }
		found, ok := Detect(everywhere)
		if !ok || found.Name == "" {
			t.Errorf("got %q, %v", found.Name, ok)
		}
		models, err := ParseModels(body)
		for _, m := range models {
			if err != nil || m.ID == "" || text.Line(m.ID, maxModelName) != m.ID {
				t.Errorf("model %q, %v", m.ID, err)
			}
		}
		for _, e := range all() {
			_ = e.ErrorIn(body)
			if e.rests != nil {
				_, _ = e.rests(everywhere, "m")
			}
			if e.serves == nil {
				continue
			}
			kinds, err := e.serves(everywhere, "m")
			for _, k := range kinds {
				if k.Name == "" || err != nil {
					t.Errorf("%s serves %+v, %v", e.Name, k, err)
				}
				if k.Answer != nil {
					_ = k.Answer(body)
				}
			}
		}
	})
}
