package kind

// Score is vLLM's POST /v1/score.
func Score() Kind {
	return Kind{
		Name: "score", Path: "/v1/score", Fields: []string{"text_1", "text_2", "items"},
		Body:   `{"model":{model},"text_1":"Test","text_2":"Test"}`,
		Answer: wantList("data", "scores"),
	}
}
