package kind

// Classify is POST /classify of vLLM, for models whose answers are classes. Its payload is that of
// embeddings, so it is told by its name only.
func Classify() Kind {
	return Kind{
		Name: "classify", Path: "/classify",
		Body:   `{"model":{model},"input":"Test"}`,
		Answer: wantList("data"),
	}
}
