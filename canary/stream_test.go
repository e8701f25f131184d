package canary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/dynmesh/dynmesh"

	"github.com/dynmesh/dynmesh/internal/sse"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// piece is what a stream's reader returns once.
type piece struct{ event, data string }

// pieces reads a stream to its end.
func pieces(next func() (string, []byte, error)) (all []piece, err error) {
	for {
		event, data, err := next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, piece{event, string(data)})
	}
}

func sseOf(r io.Reader) func() (string, []byte, error) {
	return sse.NewEvents(r, maxAnswer, maxAnswer).Next
}

func linesOf(r io.Reader) func() (string, []byte, error) {
	return jsonLines{sse.NewLines(r, maxAnswer, maxAnswer)}.next
}

func equalPieces(a, b []piece) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestStreamsAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name string
		next func() (string, []byte, error)
	}{
		{"one line of 100 MB", linesOf(io.LimitReader(testkit.Endless("x"), 100<<20))},
		{"one event of 100 MB in one line", sseOf(io.MultiReader(strings.NewReader("data: "), io.LimitReader(testkit.Endless("x"), 100<<20)))},
		{"one event without end", sseOf(testkit.Endless("data: x\n"))},
		{"comments without end", sseOf(testkit.Endless(": ping\n\n"))},
		{"documents without end", linesOf(testkit.Endless("{}\n"))},
		{"empty lines without end", linesOf(testkit.Endless("\n"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := pieces(tt.next); !errors.Is(err, sse.ErrTooLong) {
				t.Errorf("got %v, want %v", err, sse.ErrTooLong)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	const (
		begun = `{"choices":[{"text":" the","finish_reason":null}]}`
		ended = `{"choices":[{"text":"","finish_reason":"length"}]}`
	)
	for _, tt := range []struct {
		name     string
		wantDone bool
		chunks   []string
		want     dynmesh.Reason
	}{
		{"a token, the end, [DONE]", true, []string{begun, ended, "[DONE]"}, ""},
		{"the end of the text at once", true, []string{ended, "[DONE]"}, ""},
		{"no [DONE], after a reason to finish", true, []string{begun, ended}, ""}, // transformers serve
		{"no [DONE], and no reason to finish", true, []string{begun}, dynmesh.ReasonCut},
		{"no tokens, by its own count", true, []string{ended, `{"choices":[],"usage":{"completion_tokens":0}}`, "[DONE]"}, dynmesh.ReasonEmpty},
		{"no tokens, counted with the end", true, []string{`{"choices":[{"text":"","finish_reason":"stop"}],"usage":{"completion_tokens":0}}`}, dynmesh.ReasonEmpty},
		{"the end of the text is a token", true, []string{ended, `{"choices":[],"usage":{"completion_tokens":1}}`, "[DONE]"}, ""},
		{"tokens are counted as they come", true, []string{`{"choices":[{"text":""}],"usage":{"completion_tokens":0}}`, `{"choices":[{"text":"a","finish_reason":"length"}],"usage":{"completion_tokens":1}}`, "[DONE]"}, ""},
		{"nobody counted yet", true, []string{begun, ended, `{"choices":[],"usage":null}`, "[DONE]"}, ""},
		{"no [DONE] where there is none", false, []string{begun, ended}, ""},
		{"only [DONE]", true, []string{"[DONE]"}, dynmesh.ReasonEmpty},
		{"nothing", false, nil, dynmesh.ReasonEmpty},
		{"a chat's opening and no more", true, []string{`{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}`, "[DONE]"}, dynmesh.ReasonEmpty},
		{"a chat", true, []string{`{"choices":[{"delta":{"content":"hi"}}]}`, "[DONE]"}, ""},
		{"a chat that thinks", true, []string{`{"choices":[{"delta":{"reasoning_content":"hm"}}]}`, "[DONE]"}, ""},
		{"a chat in one piece", false, []string{`{"choices":[{"message":{"role":"assistant","content":"hi"}}]}`}, ""},
		{"only the usage", true, []string{`{"choices":[],"usage":{"total_tokens":3}}`, "[DONE]"}, dynmesh.ReasonEmpty},
		{"OpenAI's error", true, []string{begun, `{"error":{"message":"EngineCore encountered an issue.","code":500}}`, "[DONE]"}, dynmesh.ReasonErrorChunk},
		{"Triton's error", false, []string{`{"text_output":"a"}`, `{"error":"failed"}`}, dynmesh.ReasonErrorChunk},
		{"Dynamo's error", false, []string{`{"event":"error","comment":["no"]}`}, dynmesh.ReasonErrorChunk},
		{"an error beside fields of another type", false, []string{`{"error":"no","usage":3,"choices":"x"}`}, dynmesh.ReasonErrorChunk},
		{"no error", false, []string{`{"error":null,"text":"x"}`}, ""},
		{"vLLM gave up", true, []string{`{"choices":[{"text":"","finish_reason":"abort"}]}`, "[DONE]"}, dynmesh.ReasonErrorChunk},
		{"SGLang", true, []string{`{"text":"a","meta_info":{"finish_reason":{"type":"length","length":1}}}`, "[DONE]"}, ""},
		{"Triton", false, []string{`{"model_name":"m","text_output":"a"}`}, ""},
		{"garbage", false, []string{"<html>"}, dynmesh.ReasonMalformed},
		{"half a document", true, []string{`{"choices":[{"te`}, dynmesh.ReasonMalformed},
		{"not an object where objects are wanted", true, []string{"1"}, dynmesh.ReasonMalformed},
		{"any document elsewhere", false, []string{`"hello"`}, ""},
		{"polite nothings", false, []string{"null", `""`, "{}", "[]"}, dynmesh.ReasonEmpty},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := judge{ctx: context.Background(), wantDone: tt.wantDone}
			if got := verdict(&j, tt.chunks); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestErrorIn(t *testing.T) {
	for chunk, want := range map[string]string{
		`{"choices":[{"text":"a"}]}`:                         "",
		`{"error":{"message":"EngineCore died"}}`:            "error_chunk: EngineCore died",
		` {"error":"no"} `:                                   "error_chunk: no",
		`{"error":null,"text":"x"}`:                          "",
		`{"choices":[{"text":"an \"error\"","delta":null}]}`: "",
		`{"choices":[{"text":"error"}]}`:                     "",
		`{"choices":[{"text":"","finish_reason":"abort"}]}`:  "error_chunk: finish reason abort",
		`"error"`:  "",
		`{"error"`: "",
		``:         "",
	} {
		got := ""
		if f := ErrorIn([]byte(chunk)); f != nil {
			got = f.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", chunk, got, want)
		}
	}
}

func verdict(j *judge, chunks []string) dynmesh.Reason {
	for _, c := range chunks {
		if f := j.chunk("", []byte(c)); f != nil {
			return f.Reason
		}
	}
	if f := j.end(); f != nil {
		return f.Reason
	}
	return ""
}

func checkDetail(t testing.TB, f *dynmesh.Failure) {
	t.Helper()
	if f == nil {
		return
	}
	if len(f.Detail) > dynmesh.MaxDetail || !utf8.ValidString(f.Detail) || strings.ContainsFunc(f.Detail, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("detail %q (%d bytes): want one line of valid UTF-8, at most %d bytes", f.Detail, len(f.Detail), dynmesh.MaxDetail)
	}
	if f.Reason == "" {
		t.Errorf("%v: want a reason", f)
	}
}

// fuzzStream holds that a reader finds the same however the bytes arrive, keeps its bounds, and can
// be judged.
func fuzzStream(t *testing.T, stream []byte, read func(io.Reader) func() (string, []byte, error)) {
	whole, wholeErr := pieces(read(bytes.NewReader(stream)))
	bytewise, bytewiseErr := pieces(read(iotest.OneByteReader(bytes.NewReader(stream))))
	if !equalPieces(whole, bytewise) || (wholeErr == nil) != (bytewiseErr == nil) {
		t.Errorf("got %q, %v at once, and %q, %v byte by byte", whole, wholeErr, bytewise, bytewiseErr)
	}
	for _, wantDone := range []bool{true, false} {
		j := judge{ctx: context.Background(), wantDone: wantDone}
		var f *dynmesh.Failure
		for _, p := range whole {
			if len(p.data) > maxAnswer {
				t.Errorf("a chunk of %d bytes", len(p.data))
			}
			if f = j.chunk(p.event, []byte(p.data)); f != nil {
				break
			}
			if data := bytes.TrimSpace([]byte(p.data)); len(data) > 0 && !json.Valid(data) && string(data) != doneMark {
				t.Errorf("%q passed, and is not JSON", data)
			}
		}
		if f == nil {
			f = j.end()
		}
		if f == nil && wantDone && !bytes.Contains(stream, []byte(doneMark)) && !bytes.Contains(stream, []byte("finish_reason")) {
			t.Errorf("%q passed without an end", stream)
		}
		checkDetail(t, f)
	}
}

func FuzzSSE(f *testing.F) {
	for _, s := range []string{
		"data: {\"choices\":[{\"text\":\" a\"}]}\n\ndata: [DONE]\n\n", "event: error\r\ndata: {\"error\":{\"message\":\"x\"}}\r\n\r\n",
		": c\n\ndata: {\ndata: }\n\n", "\uFEFFdata:\r\rdata", "data: {\"object\":\"error\"}\n\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, stream []byte) { fuzzStream(t, stream, sseOf) })
}

func FuzzJSONLines(f *testing.F) {
	for _, s := range []string{"{\"a\":1}\n{\"error\":\"x\"}\n", "null\n\n[]\r\n1", "{\"choices\":[{\"delta\":{\"content\":\"x\"}}]}", "[DONE]\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, stream []byte) { fuzzStream(t, stream, linesOf) })
}
