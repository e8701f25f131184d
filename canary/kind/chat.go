package kind

// Chat is OpenAI's POST /v1/chat/completions.
func Chat() Kind {
	return Kind{
		Name: "chat", Path: "/v1/chat/completions", Fields: []string{"messages"}, Streams: true,
		Body: `{"model":{model},"messages":[{"role":"user","content":"Test"}],` + OneToken,
	}
}
