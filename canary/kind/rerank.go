package kind

// Rerank is POST /v1/rerank, as Jina and Cohere have it and vLLM, SGLang, and llama.cpp took it
// over.
func Rerank() Kind {
	return Kind{
		Name: "rerank", Path: "/v1/rerank", Fields: []string{"documents", "texts"},
		Body:   `{"model":{model},"query":"Test","documents":["Test"]}`,
		Answer: wantList("results"),
	}
}
