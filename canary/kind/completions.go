package kind

// OneToken is the end of a body that asks for one token, streamed.
const OneToken = `"temperature":0,"max_tokens":1,"stream":true}`

// Completions is OpenAI's POST /v1/completions.
func Completions() Kind {
	return Kind{
		Name: "completions", Path: "/v1/completions", Fields: []string{"prompt"}, Streams: true,
		Body: `{"model":{model},"prompt":"Test",` + OneToken,
	}
}
