package kind

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	if got := strings.Join(Names(), " "); got != "completions chat embeddings rerank score classify responses infer" {
		t.Errorf("kinds: got %s", got)
	}
	if _, err := Find("nonsense"); err == nil || !strings.Contains(err.Error(), "want one of completions, chat") {
		t.Errorf("got %v, want an error that lists those there are", err)
	}
}

// Each kind's request is JSON, with and without a name for the model; one that has it in its path
// cannot do without.
func TestRequests(t *testing.T) {
	for _, k := range all() {
		if k.Name == "infer" {
			if _, _, err := k.Request(""); err == nil || !strings.Contains(err.Error(), "DYN_MODEL") {
				t.Errorf("%s without a model: got %v, want an error that says what helps", k.Name, err)
			}
			continue
		}
		for _, model := range []string{"", `a"b`, "{model}"} {
			path, body, err := k.Request(model)
			if err != nil || path != k.Path || !json.Valid(body) || strings.Contains(string(body), `"model"`) != (model != "") {
				t.Errorf("%s, %q: got %s %s, %v", k.Name, model, path, body, err)
			}
		}
	}
	own := json.RawMessage(`{"prompt":"{model}"}`)
	if _, body, _ := Completions().WithPayload(own).Request("m"); string(body) != string(own) {
		t.Errorf("a payload of one's own: got %s, want it as it is", body)
	}
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct{ kind, answer, want string }{
		{"embeddings", `{"data":[{"embedding":[0.1,0]}]}`, ""},
		{"embeddings", `{"data":[{"embedding":"AACAPw=="}]}`, ""},
		{"embeddings", `{"data":[{"embedding":[0.1,null]}]}`, "no number at 1"},
		{"embeddings", `{"data":[{"embedding":[]}]}`, "no embedding"},
		{"embeddings", `{"data":[]}`, "no embedding"},
		{"embeddings", `[]`, "no embedding"},
		{"rerank", `{"results":[{"index":0,"relevance_score":0.1}]}`, ""},
		{"rerank", `[{"index":0,"score":0.9}]`, ""}, // TEI, SGLang
		{"rerank", `{"results":[]}`, "no results"},
		{"rerank", `[]`, "no results"},
		{"score", `{"data":[{"score":1}]}`, ""},
		{"score", `{"scores":[[0.5]]}`, ""}, // SGLang
		{"score", `{"object":"list"}`, "no data, and no scores"},
		{"classify", `{"data":[{"label":"a"}]}`, ""},
		{"classify", `[[{"score":0.9,"label":"joy"}]]`, ""}, // TEI
		{"classify", `{}`, "no data"},
		{"responses", `{"status":"incomplete","output":[{"type":"message"}],"usage":{"output_tokens":1}}`, ""},
		{"responses", `{"status":"completed","output":[{"type":"message"}],"usage":{"output_tokens":0}}`, "0 tokens"},
		{"responses", `{"status":"failed","output":[{}]}`, "status is failed"},
		{"responses", `{"status":"completed","output":[]}`, "no output"},
		{"infer", `{"model_name":"m","outputs":[{"name":"OUT"}]}`, ""},
		{"infer", `{"model_name":"m","outputs":[]}`, "no outputs"},
	} {
		k, err := Find(tt.kind)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := k.Answer([]byte(tt.answer)); err != nil {
			got = err.Error()
		}
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s %s: got %q, want %q", tt.kind, tt.answer, got, tt.want)
		}
	}
}

func TestInferBody(t *testing.T) {
	for _, tt := range []struct{ metadata, want string }{
		{`{"inputs":[{"name":"A","datatype":"FP32","shape":[-1,3]},{"name":"B","datatype":"BYTES","shape":[1]},{"name":"C","datatype":"BOOL","shape":[-1]}]}`,
			`{"inputs":[{"name":"A","shape":[1,3],"datatype":"FP32","data":[0,0,0]},{"name":"B","shape":[1],"datatype":"BYTES","data":["Test"]},{"name":"C","shape":[1],"datatype":"BOOL","data":[false]}]}`},
		{`{"inputs":[{"name":"S","datatype":"INT64","shape":[]}]}`, `{"inputs":[{"name":"S","shape":[],"datatype":"INT64","data":[0]}]}`},
		{`{"inputs":[{"name":"A","datatype":"FP32","shape":[3,100000,100000]}]}`, ""},
		{`{"inputs":[` + strings.Repeat(`{"name":"A","datatype":"FP32","shape":[1000,500]},`, 2) + `{"name":"B","datatype":"FP32","shape":[1000,500]}]}`, ""},
		{`{"inputs":[]}`, ""},
		{`[`, ""},
	} {
		got, err := InferBody([]byte(tt.metadata))
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: got %s, %v, want %s", tt.metadata, got, err, tt.want)
		}
	}
}
