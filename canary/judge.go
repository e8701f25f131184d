package canary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// maxAnswer bounds what an engine may send, in bytes. A canary's answer is one token; what is
// larger by far is not one.
const maxAnswer = 1 << 20

// errOversized says that an answer is longer than a canary's can be.
var errOversized = errors.New("the answer is too large")

// judge draws the verdict over a whole answer, chunk by chunk.
type judge struct {
	ctx      context.Context
	wantDone bool // the stream must end with [DONE], and its chunks be objects

	answer  func(document []byte) error // nil: as chunks are
	errorIn func(chunk []byte) string   // nil: no other forms than those that all are judged by
	want    string                      // must be in it

	content   bool // something came that is an answer
	finished  bool // the engine gave a reason to finish
	cancelled bool // which was that somebody had it give up
	hasUsage  bool // it said how many tokens it made,
	tokens    bool // and there were some
	done      bool // [DONE] came: there is nothing more to read

	raw, words []byte // where there is a want: what came, and what it says
}

// doneMark ends the streams of OpenAI's API, and of those made after it.
const doneMark = "[DONE]"

// chunk judges one piece of the answer. event is that of SSE, or "".
func (j *judge) chunk(event string, data []byte) *dynmesh.Failure {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return nil
	}
	if string(data) == doneMark {
		j.done = true
		return nil
	}
	if event == "error" {
		return failure(dynmesh.ReasonErrorChunk, "%s", data)
	}
	if j.errorIn != nil {
		if message := j.errorIn(data); message != "" {
			return failure(dynmesh.ReasonErrorChunk, "%s", message)
		}
	}
	c, f := readChunk(data, j.wantDone)
	if f != nil {
		return f
	}
	if j.answer != nil {
		if err := j.answer(data); err != nil {
			return failure(dynmesh.ReasonEmpty, "%v: %.80s", err, data)
		}
	}
	recorderOf(j.ctx).note(data)
	j.content = j.content || c.answer
	j.finished = j.finished || c.finished
	j.cancelled = j.cancelled || c.cancelled
	if c.tokens != nil {
		j.hasUsage, j.tokens = true, *c.tokens > 0
	}
	if j.want != "" {
		j.raw = append(append(j.raw, data...), '\n')
		j.words = append(j.words, c.words...)
	}
	return nil
}

// end judges the answer when no more will come.
func (j *judge) end() *dynmesh.Failure {
	switch {
	case !j.content && j.cancelled:
		return failure(dynmesh.ReasonEmpty, "the answer says nothing: the engine has cancelled it")
	case !j.content:
		return failure(dynmesh.ReasonEmpty, "the answer says nothing")
	case j.finished && j.hasUsage && !j.tokens:
		return failure(dynmesh.ReasonEmpty, "the answer has ended, with 0 tokens")
	case j.wantDone && !j.done && !j.finished:
		return failure(dynmesh.ReasonCut, "the stream ended without %s, and without a reason to finish", doneMark)
	case j.want != "":
		return unexpected(j.want, j.raw, j.words)
	default:
		return nil
	}
}

// chunkFields is what is looked at in chunks, whoever sends them. An engine's own forms are
// HTTPConfig.ErrorIn's.
type chunkFields struct {
	Error   json.RawMessage `json:"error"` // OpenAI, and all who took over its API; Triton, TEI, dynmesh
	Event   any             `json:"event"` // "error" in Dynamo's annotated chunks
	Choices *[]struct {
		Text         any `json:"text"`
		FinishReason any `json:"finish_reason"`
		Delta        any `json:"delta"`
		Message      any `json:"message"`
	} `json:"choices"` // OpenAI
	FinishReason any             `json:"finish_reason"` // Dynamo, whose chunks have the next two
	Text         json.RawMessage `json:"text"`
	TokenIDs     json.RawMessage `json:"token_ids"`
	Usage        struct {
		CompletionTokens *float64 `json:"completion_tokens"`
	} `json:"usage"` // OpenAI
}

// chunk is what a JSON document has of an answer.
type chunk struct {
	answer    bool // something that only an engine that works sends
	finished  bool // a reason to finish
	cancelled bool // which says nothing of the engine
	tokens    *float64
	words     []byte // the text of it
}

// readChunk looks at one JSON document.
func readChunk(data []byte, object bool) (chunk, *dynmesh.Failure) {
	if data[0] != '{' {
		if object || !json.Valid(data) {
			return chunk{}, failure(dynmesh.ReasonMalformed, "want a JSON object, got %.80s", data)
		}
		return chunk{answer: substance(data)}, nil
	}
	var c chunkFields
	if err := json.Unmarshal(data, &c); err != nil {
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); !ok {
			return chunk{}, failure(dynmesh.ReasonMalformed, "%v: %.80s", err, data)
		}
		// A field of that name that means something else. All others are there.
	}
	if substance(c.Error) {
		return chunk{}, failure(dynmesh.ReasonErrorChunk, "%s", errorText(c.Error))
	}
	if c.Event == "error" {
		return chunk{}, failure(dynmesh.ReasonErrorChunk, "%s", data)
	}
	if aborted(c.FinishReason) {
		return chunk{}, failure(dynmesh.ReasonErrorChunk, "finish reason %v", c.FinishReason)
	}
	read := chunk{tokens: c.Usage.CompletionTokens, finished: isReason(c.FinishReason), cancelled: isCancelled(c.FinishReason)}
	if c.Choices == nil {
		read.answer = len(data) > len("{}") && (!read.cancelled || substance(c.Text) || substance(c.TokenIDs))
		return read, nil
	}
	for _, choice := range *c.Choices {
		if aborted(choice.FinishReason) {
			return chunk{}, failure(dynmesh.ReasonErrorChunk, "finish reason %v", choice.FinishReason)
		}
		// A model may well answer with the end of the text at once: a reason to finish is an
		// answer, too. A chat's first chunk has neither, and is sent before the model has done
		// anything.
		finished, cancelled := isReason(choice.FinishReason), isCancelled(choice.FinishReason)
		read.finished, read.cancelled = read.finished || finished, read.cancelled || cancelled
		read.answer = read.answer || isText(choice.Text) || finished && !cancelled || content(choice.Delta) || content(choice.Message)
		read.words = append(append(append(read.words, textOf(choice.Text)...), wordsOf(choice.Delta)...), wordsOf(choice.Message)...)
	}
	return read, nil
}

func textOf(v any) string {
	s, _ := v.(string)
	return s
}

// wordsOf is the text of a message.
func wordsOf(v any) string {
	m, _ := v.(map[string]any)
	return textOf(m["content"])
}

// ErrorIn finds the error in one chunk of a stream, in any of the forms that engines have for it
// (see chunkFields), but for those of one engine only; nil where there is none. It is for whoever
// passes chunks on and counts them: a chunk that is an error is no progress. It is cheap on chunks
// that cannot be one.
func ErrorIn(chunk []byte) *dynmesh.Failure {
	if !bytes.Contains(chunk, []byte(`"error"`)) && !bytes.Contains(chunk, []byte(`"abort"`)) {
		return nil
	}
	chunk = bytes.TrimSpace(chunk)
	if len(chunk) == 0 || chunk[0] != '{' {
		return nil
	}
	if _, f := readChunk(chunk, true); f != nil && f.Reason == dynmesh.ReasonErrorChunk {
		return f
	}
	return nil
}

// substance says whether JSON is more than a polite nothing.
func substance(data []byte) bool {
	switch strings.TrimSpace(string(data[:min(len(data), 8)])) {
	case "", "null", `""`, "{}", "[]", "false":
		return false
	}
	return true
}

func isText(v any) bool {
	s, ok := v.(string)
	return ok && s != ""
}

// content says whether a message has anything in it beside its role.
func content(v any) bool {
	m, _ := v.(map[string]any)
	for key, v := range m {
		switch v := v.(type) {
		case string:
			if key != "role" && v != "" {
				return true
			}
		case []any:
			if len(v) > 0 {
				return true // calls of tools
			}
		}
	}
	return false
}

// isReason says whether there is a reason to finish. Some engines have an empty one in each chunk.
func isReason(reason any) bool { return reason != nil && reason != "" }

// isCancelled says whether the engine was told to give up on the request, by its reason to finish:
// what it had said until then is an answer, and that it stopped is none.
func isCancelled(reason any) bool { return reason == "cancelled" || reason == "canceled" }

// aborted says whether an engine gave up on the request, by its reason to finish.
func aborted(reason any) bool {
	return reason == "error" || reason == "abort"
}

// maxErrorText bounds what is kept of an error answer's message, in bytes.
const maxErrorText = 1 << 10

// ErrorText finds the message in the body of an error answer: one line of at most 1 KiB. Where it
// finds none, it is the body itself. Forms:
//
//	| {"error":{"message":"…"}} | OpenAI, vLLM, SGLang          |
//	| {"error":"…"}             | Triton, dynmesh               |
//	| {"detail":"…"}            | FastAPI, under vLLM and others |
//	| {"message":"…"}           | older vLLM                    |
func ErrorText(body []byte) string {
	var c struct {
		Error   json.RawMessage `json:"error"`
		Detail  json.RawMessage `json:"detail"`
		Message any             `json:"message"`
	}
	message := string(body[:min(len(body), 4*maxErrorText)])
	if json.Unmarshal(body, &c) == nil {
		switch {
		case substance(c.Error):
			message = errorText(c.Error)
		case substance(c.Detail):
			message = errorText(c.Detail)
		case isText(c.Message):
			message = c.Message.(string)
		}
	}
	return text.Line(message, maxErrorText)
}

// errorText is the text of an error in one of its usual forms: a text, or an object with a message.
func errorText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var m struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(raw, &m) == nil && m.Message != "" {
		return m.Message
	}
	return string(raw)
}
