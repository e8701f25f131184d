package mocker

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// answer shapes one request's tokens as OpenAI's documents: chunks of a stream, or one whole.
type response struct {
	req     *request
	id      string
	created int64
	model   string

	engineID string

	text   strings.Builder
	pieces []string // where the request wants logprobs
	tokens int
	finish string
}

// document is what both kinds of answer, and their chunks, have in common.
type document struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   *usage   `json:"usage,omitempty"`

	Transfer *transfer `json:"kv_transfer_params,omitempty"` // of a prompt that another engine is to answer
}

// transfer says where another engine fetches what was read, as vLLM's NixlConnector does.
type transfer struct {
	RemotePrefill bool    `json:"do_remote_prefill"`
	RemoteDecode  bool    `json:"do_remote_decode"`
	Blocks        [][]int `json:"remote_block_ids"`
	Engine        string  `json:"remote_engine_id"`
	Host          string  `json:"remote_host"`
	Port          int     `json:"remote_port"`
	TensorSize    int     `json:"tp_size"`
}

type choice struct {
	Index        int      `json:"index"`
	Text         *string  `json:"text,omitempty"`    // completions
	Delta        *message `json:"delta,omitempty"`   // chunks of chats
	Message      *message `json:"message,omitempty"` // chats in one piece
	Logprobs     any      `json:"logprobs"`
	FinishReason *string  `json:"finish_reason"`
}

type message struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	TotalTokens      int `json:"total_tokens"`
	CompletionTokens int `json:"completion_tokens"`
}

func newResponse(req *request, model string) *response {
	prefix := "cmpl-"
	if req.chat {
		prefix = "chatcmpl-"
	}
	return &response{req: req, id: fmt.Sprintf("%s%016x", prefix, rand.Uint64()), created: time.Now().Unix(), model: model}
}

func (a *response) add(text, finish string) {
	a.text.WriteString(text)
	if a.req.wantsLogprobs() {
		a.pieces = append(a.pieces, text)
	}
	a.tokens++
	a.finish = finish
}

func (a *response) document(object string, choices ...choice) document {
	if a.req.chat {
		object = "chat.completion" + strings.TrimPrefix(object, "text_completion")
	}
	return document{ID: a.id, Object: object, Created: a.created, Model: a.model, Choices: choices}
}

func (a *response) chunkObject() string {
	if a.req.chat {
		return "text_completion.chunk"
	}
	return "text_completion" // OpenAI gives a completion's chunks the name of the whole
}

// opening is a chat's first chunk, which engines send before any token's: it proves nothing about
// the model.
func (a *response) opening() document {
	return a.document(a.chunkObject(), choice{Delta: &message{Role: "assistant", Content: new("")}})
}

func (a *response) chunk(text, finish string) document {
	c := choice{}
	if finish != "" {
		c.FinishReason = &finish
	}
	if a.req.chat {
		c.Delta = &message{Content: &text}
	} else {
		c.Text = &text
	}
	return a.document(a.chunkObject(), c)
}

// closing is the chunk with the usage, sent to those who ask for it in stream_options.
func (a *response) closing() document {
	d := a.document(a.chunkObject())
	d.Choices = []choice{}
	d.Usage = a.usage()
	return d
}

func (a *response) whole() document {
	text := a.text.String()
	c := choice{}
	if a.finish != "" {
		c.FinishReason = &a.finish
	}
	if a.req.chat {
		c.Message = &message{Role: "assistant", Content: &text}
	} else {
		c.Text = &text
	}
	if a.req.wantsLogprobs() {
		c.Logprobs = a.logprobs()
	}
	d := a.document("text_completion", c)
	d.Usage = a.usage()
	if a.req.KVTransfer.RemoteDecode {
		d.Transfer = &transfer{RemotePrefill: true, Blocks: [][]int{{1}}, Engine: a.engineID, Host: "127.0.0.1", Port: 5600, TensorSize: 1}
	}
	return d
}

// logprobs are made up, like the words: each token was likely, and another was not.
func (a *response) logprobs() any {
	const other, likely, unlikely = " other", -0.1, -3.0
	if !a.req.chat {
		all := make([]float64, len(a.pieces))
		likeliest := make([]map[string]float64, len(a.pieces))
		for i, text := range a.pieces {
			all[i], likeliest[i] = likely, map[string]float64{text: likely, other: unlikely}
		}
		return map[string]any{"tokens": a.pieces, "token_logprobs": all, "top_logprobs": likeliest}
	}
	content := make([]map[string]any, len(a.pieces))
	for i, text := range a.pieces {
		content[i] = map[string]any{"token": text, "logprob": likely, "top_logprobs": []map[string]any{
			{"token": text, "logprob": likely}, {"token": other, "logprob": unlikely},
		}}
	}
	return map[string]any{"content": content}
}

func (a *response) usage() *usage {
	return &usage{
		PromptTokens:     a.req.promptTokens,
		TotalTokens:      a.req.promptTokens + a.tokens,
		CompletionTokens: a.tokens,
	}
}
