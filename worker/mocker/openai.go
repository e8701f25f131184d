package mocker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/dynmesh/dynmesh/internal/parse"
)

// Error is an engine's refusal, in OpenAI's form.
type Error struct {
	Status  int    // HTTP status, 400 to 599
	Type    string // such as "BadRequestError"
	Param   string // the request's field that is wrong, or ""
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("engine: %d %s: %s", e.Status, e.Type, e.Message) }

// StatusCode is the HTTP status that the error stands for.
func (e *Error) StatusCode() int { return e.Status }

// MarshalJSON writes {"error":{"message","type","param","code"}}.
func (e *Error) MarshalJSON() ([]byte, error) {
	type detail struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    int     `json:"code"`
	}
	d := detail{Message: e.Message, Type: e.Type, Code: e.Status}
	if e.Param != "" {
		d.Param = &e.Param
	}
	return json.Marshal(map[string]detail{"error": d})
}

func badRequest(param, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Type: "BadRequestError", Param: param, Message: fmt.Sprintf(format, args...)}
}

// request is the part of OpenAI's requests that the engine honours. Sampling parameters change
// nothing in made-up words, so they are let pass.
type request struct {
	Model               string          `json:"model"`
	Prompt              json.RawMessage `json:"prompt"`
	Messages            json.RawMessage `json:"messages"`
	MaxTokens           *int            `json:"max_tokens"`
	MaxCompletionTokens *int            `json:"max_completion_tokens"`
	Stream              *bool           `json:"stream"`
	StreamOptions       *struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	N          *int            `json:"n"`
	Logprobs   json.RawMessage `json:"logprobs"` // a number with completions, true with chats: answers in one piece have them
	KVTransfer struct {
		RemoteEngine string `json:"remote_engine_id"`
		RemoteDecode bool   `json:"do_remote_decode"` // another engine will answer: it only reads
	} `json:"kv_transfer_params"`

	chat         bool
	promptTokens int
	limit        int // on tokens; 0 where the request sets none
	rank         int // which it goes to
}

// wantsLogprobs says whether the request asks for them: many clients say that they do not.
func (r *request) wantsLogprobs() bool {
	switch string(r.Logprobs) {
	case "", "null", "false":
		return false
	}
	return true
}

// Canary returns the smallest request that the engine answers: vLLM's canary, without a model's
// name.
func Canary() json.RawMessage {
	return json.RawMessage(`{"prompt":[1],"temperature":0,"max_tokens":1,"stream":true}`)
}

// defaultCompletionTokens is what OpenAI's completions (not its chats) end after when a request
// sets no limit.
const defaultCompletionTokens = 16

func parseRequest(raw []byte, model string, chat bool) (*request, error) {
	if trimmed := bytes.TrimLeft(raw, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, badRequest("", "the request is not a JSON object")
	}
	r := &request{chat: chat}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, badRequest("", "the request cannot be read: %v", parse.JSONError(err))
	}
	if r.Model != "" && r.Model != model {
		return nil, &Error{
			Status: http.StatusNotFound, Type: "NotFoundError", Param: "model",
			Message: fmt.Sprintf("The model `%s` does not exist.", r.Model),
		}
	}
	if r.N != nil && *r.N != 1 {
		return nil, badRequest("n", "n must be 1, got %d", *r.N)
	}
	var err error
	if chat {
		r.promptTokens, err = countMessages(r.Messages)
	} else {
		r.promptTokens, err = countPrompt(r.Prompt)
		r.limit = defaultCompletionTokens
	}
	if err != nil {
		return nil, err
	}
	for _, l := range []struct {
		name string
		v    *int
	}{{"max_tokens", r.MaxTokens}, {"max_completion_tokens", r.MaxCompletionTokens}} {
		if l.v == nil {
			continue
		}
		if *l.v < 1 {
			return nil, badRequest(l.name, "%s must be at least 1, got %d.", l.name, *l.v)
		}
		r.limit = *l.v
	}
	return r, nil
}

// isChat tells the two kinds of request apart where no path does.
func isChat(raw []byte) bool {
	var r struct {
		Prompt   json.RawMessage `json:"prompt"`
		Messages json.RawMessage `json:"messages"`
	}
	return json.Unmarshal(raw, &r) == nil && r.Messages != nil && r.Prompt == nil
}

// countPrompt takes OpenAI's forms of one prompt: a text, a list with one text, a list of token
// IDs, a list with one such list.
func countPrompt(raw json.RawMessage) (int, error) {
	var (
		text  string
		texts []string
		ids   []int
		lists [][]int
	)
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return 0, badRequest("prompt", "prompt is required")
	case json.Unmarshal(raw, &text) == nil:
		return countWords(text), nil
	case json.Unmarshal(raw, &ids) == nil && len(ids) > 0:
		return len(ids), nil
	case json.Unmarshal(raw, &texts) == nil && len(texts) == 1:
		return countWords(texts[0]), nil
	case json.Unmarshal(raw, &lists) == nil && len(lists) == 1 && len(lists[0]) > 0:
		return len(lists[0]), nil
	}
	return 0, badRequest("prompt", "prompt must be one text or one list of token IDs")
}

func countMessages(raw json.RawMessage) (int, error) {
	var messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &messages) != nil || len(messages) == 0 {
		return 0, badRequest("messages", "messages must be a list of at least one message")
	}
	n := 0
	for i, m := range messages {
		if m.Role == "" {
			return 0, badRequest("messages", "message %d has no role", i)
		}
		n += countWords(string(m.Content))
	}
	return n, nil
}

// countWords stands in for a tokenizer.
func countWords(text string) int { return max(1, len(strings.Fields(text))) }
