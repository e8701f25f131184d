package engine

import (
	"strings"
	"testing"
)

// What real servers answer, cut short: vLLM 0.32, llama.cpp b1-7e4c0a9, TEI 1.9, SGLang 0.5, Triton
// 2.60, Ollama 0.12 as documented.
const (
	vllmModels     = `{"object":"list","data":[{"id":"tiny","object":"model","owned_by":"vllm","root":"/hf","parent":null}]}`
	llamaModels    = `{"models":[{"name":"/tiny.gguf","capabilities":["completion"]}],"object":"list","data":[{"id":"/tiny.gguf","object":"model","owned_by":"llamacpp"}]}`
	llamaRouter    = `{"data":[{"id":"a","owned_by":"llamacpp","status":{"value":"unloaded"}},{"id":"b","owned_by":"llamacpp","status":{"value":"loaded"}},{"id":"c","status":{"value":"loading"}}]}`
	anonymous      = `{"object":"list","data":[{"id":"m","object":"model","owned_by":"organization-owner"}]}`
	embeddingInfo  = `{"model_id":"thenlper/gte-base","model_type":{"embedding":{"pooling":"cls"}},"max_client_batch_size":32,"version":"1.9.0"}`
	rerankerInfo   = `{"model_id":"bge","model_type":{"reranker":{"id2label":{"0":"LABEL_0"},"label2id":{"LABEL_0":0}}},"max_client_batch_size":32}`
	classifierInfo = `{"model_id":"emo","model_type":{"classifier":{"id2label":{},"label2id":{}}},"max_client_batch_size":32}`
)

func TestDetect(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers map[string]string
		want    string
	}{
		{"vllm", map[string]string{"/v1/models": vllmModels, "/version": `{"version":"0.32.0"}`}, "vllm"},
		{"sglang", map[string]string{"/v1/models": strings.Replace(anonymous, "organization-owner", "sglang", 1)}, "sglang"},
		{"trtllm", map[string]string{"/v1/models": strings.Replace(anonymous, "organization-owner", "tensorrt_llm", 1)}, "trtllm"},
		{"llama.cpp", map[string]string{"/v1/models": llamaModels}, "llamacpp"},
		{"llama.cpp without a list for us", map[string]string{"Server": "llama.cpp"}, "llamacpp"},
		{"triton", map[string]string{"/v2": `{"name":"triton","version":"2.60.0","extensions":["classification"]}`}, "triton"},
		{"tei", map[string]string{"/info": embeddingInfo}, "tei"},
		{"ollama", map[string]string{"/": "Ollama is running", "/v1/models": `{"object":"list","data":[{"id":"llama3.2:latest","owned_by":"library"}]}`}, "ollama"},
		{"by the names of its counters", map[string]string{"/v1/models": anonymous, "/metrics": "# HELP vllm:num_requests_running x\nvllm:num_requests_running 0\n"}, "vllm"},
		{"by the names of its counters, elsewhere", map[string]string{"/v1/models": anonymous, "/prometheus/metrics": "trtllm_request_success_total 0\n"}, "trtllm"},
		{"somebody with OpenAI's API", map[string]string{"/v1/models": anonymous, "/metrics": "python_info 1\n"}, "openai"},
		{"somebody", nil, "openai"},
	} {
		e, ok := Detect(server(tt.answers))
		if !ok || e.Name != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.name, e.Name, ok, tt.want)
		}
	}
	if e, ok := Detect(func(string) Answer { return Answer{} }); ok {
		t.Errorf("nobody answers: got %s", e.Name)
	}
}

// No more is asked than tells: TensorRT-LLM hands out what /metrics has once.
func TestDetectAsksLittle(t *testing.T) {
	var asked []string
	models := strings.Replace(anonymous, "organization-owner", "tensorrt_llm", 1)
	Detect(func(path string) Answer {
		asked = append(asked, path)
		return server(map[string]string{"/v1/models": models})(path)
	})
	if got := strings.Join(asked, " "); got != "/v1/models" {
		t.Errorf("asked for %s", got)
	}
}

// An engine of SGLang's that is one of a pair refuses what names no room.
func TestSGLangOfPair(t *testing.T) {
	const alone = `{"input_ids":[0],"sampling_params":{"temperature":0,"max_new_tokens":1},"stream":true}`
	const forNobody = `{"input_ids":[0],"sampling_params":{"temperature":0,"max_new_tokens":1},"stream":true,"bootstrap_host":"2.2.2.2","bootstrap_room":0}`
	for mode, want := range map[string]string{"null": alone, "prefill": forNobody, "decode": forNobody, "": alone} {
		for _, path := range []string{"/server_info", "/get_server_info"} {
			kinds, err := find(t, "sglang").Kinds(server(map[string]string{
				"/model_info": `{"is_generation":true}`, path: `{"disaggregation_mode":"` + mode + `","disaggregation_bootstrap_port":8998}`,
			}), "m")
			if err != nil || len(kinds) != 1 || kinds[0].Body != want {
				t.Errorf("mode %q at %s: got %+v, %v, want %s", mode, path, kinds, err, want)
			}
		}
	}
}

func TestKindsServed(t *testing.T) {
	for _, tt := range []struct {
		name, engine string
		answers      map[string]string
		want         string
	}{
		{"vllm that generates", "vllm", map[string]string{"/openapi.json": `{"paths":{"/v1/completions":{},"/v1/chat/completions":{},"/v1/responses":{},"/v1/models":{}}}`}, "completions chat responses"},
		{"vllm that embeds", "vllm", map[string]string{"/openapi.json": `{"paths":{"/v1/embeddings":{},"/pooling":{},"/v1/models":{}}}`}, "embeddings"},
		{"vllm that ranks", "vllm", map[string]string{"/openapi.json": `{"paths":{"/v1/rerank":{},"/v1/score":{},"/classify":{}}}`}, "rerank score classify"},
		{"vllm that transcribes only", "vllm", map[string]string{"/openapi.json": `{"paths":{"/v1/audio/transcriptions":{},"/v1/models":{}}}`}, ""},
		{"vllm that does not say", "vllm", nil, "completions chat embeddings rerank score classify responses"},
		{"sglang that generates", "sglang", map[string]string{"/model_info": `{"is_generation":true}`}, "generate"},
		{"sglang that embeds", "sglang", map[string]string{"/get_model_info": `{"is_generation":false}`}, "embeddings rerank"},
		{"sglang that does not say", "sglang", nil, "generate completions chat embeddings rerank score responses"},
		{"tei that embeds", "tei", map[string]string{"/info": embeddingInfo}, "embeddings"},
		{"tei that ranks", "tei", map[string]string{"/info": rerankerInfo}, "rerank"},
		{"tei that classifies", "tei", map[string]string{"/info": classifierInfo}, "classify"},
		{"tei of long ago", "tei", map[string]string{"/info": `{"model_type":"embedding","max_client_batch_size":1}`}, "embeddings"},
		{"tei of the future", "tei", map[string]string{"/info": `{"model_type":{"ner":{}}}`}, "an error"},
		{"triton with a language model", "triton", map[string]string{"/v2/models/m": `{"inputs":[{"name":"text_input","datatype":"BYTES","shape":[-1,1]}]}`}, "triton"},
		{"triton with another", "triton", map[string]string{"/v2/models/m": `{"inputs":[{"name":"INPUT0","datatype":"FP32","shape":[-1,3]}]}`}, "infer"},
		{"triton with one that nothing is known of", "triton", map[string]string{"/v2/models/m": `{"inputs":[]}`}, "an error"},
		{"somebody", "openai", map[string]string{"/openapi.json": `{"paths":{"/v1/embeddings":{}}}`}, "embeddings"},
	} {
		kinds, err := find(t, tt.engine).Kinds(server(tt.answers), "m")
		var names []string
		for _, k := range kinds {
			names = append(names, k.Name)
		}
		got := strings.Join(names, " ")
		if err != nil {
			got = "an error"
		}
		if got != tt.want {
			t.Errorf("%s: got %s (%v), want %s", tt.name, got, err, tt.want)
		}
	}
	if _, err := find(t, "triton").Kinds(server(nil), ""); err == nil || !strings.Contains(err.Error(), "DYN_MODEL") {
		t.Errorf("triton without a model: got %v, want an error that says what helps", err)
	}
}

// What real engines answer for what they do not serve, and for a model that they do not have.
func TestUnsupported(t *testing.T) {
	for _, tt := range []struct {
		status  int
		message string
		want    bool
	}{
		{404, "Not Found", true},          // FastAPI
		{404, "File Not Found", true},     // llama.cpp
		{405, "Method Not Allowed", true}, //
		{501, "This server does not support embeddings. Start it with `--embeddings`", true}, // llama.cpp
		{400, "Pooling type 'none' is not OAI compatible. Please use a different pooling type", true},
		{400, "The model does not support Completions API", true}, // vLLM before 0.11
		{400, `"nomic-embed-text" does not support generate`, true},
		{404, "This is a chat model and not supported in the v1/completions endpoint.", true}, // OpenAI
		{404, "The model `nope` does not exist.", false},
		{404, `model "nope" not found, try pulling it first`, false},
		{400, "max_tokens must be at least 1", false},
		{401, "Unauthorized", false},
		{429, "Too Many Requests", false},
		{500, "EngineCore encountered an issue. CUDA error: operation not supported", false},
		{503, "Loading model", false},
	} {
		if got := IsUnsupported(tt.status, tt.message); got != tt.want {
			t.Errorf("%d %s: got %v, want %v", tt.status, tt.message, got, tt.want)
		}
	}
}

func TestRests(t *testing.T) {
	for _, tt := range []struct {
		name, engine, model string
		answers             map[string]string
		want                Rest
	}{
		{"vllm asleep", "vllm", "m", map[string]string{"/is_sleeping": `{"is_sleeping":true}`}, Sleeps},
		{"vllm awake", "vllm", "m", map[string]string{"/is_sleeping": `{"is_sleeping":false}`}, Awake},
		{"vllm that does not say", "vllm", "m", nil, Awake},
		{"llama.cpp asleep", "llamacpp", "m", map[string]string{"/props": `{"is_sleeping":true}`}, Dozes},
		{"llama.cpp awake", "llamacpp", "m", map[string]string{"/props": `{"is_sleeping":false}`}, Awake},
		{"a router, unloaded", "llamacpp", "a", map[string]string{"/props": `{"role":"router"}`, "/v1/models": llamaRouter}, Loads},
		{"a router, loaded", "llamacpp", "b", map[string]string{"/props": `{"role":"router"}`, "/v1/models": llamaRouter}, Awake},
		{"a router, loading", "llamacpp", "c", map[string]string{"/props": `{"role":"router"}`, "/v1/models": llamaRouter}, Loading},
		{"a router, asleep", "llamacpp", "d", map[string]string{"/props": `{"role":"router"}`, "/v1/models": `{"data":[{"id":"d","status":{"value":"sleeping"}}]}`}, Dozes},
		{"a router that may fall asleep", "llamacpp", "e", map[string]string{"/props": `{"role":"router"}`, "/v1/models": `{"data":[{"id":"e","status":{"value":"loaded","args":["--sleep-idle-seconds","4"]}}]}`}, Idles},
		{"ollama, loaded to stay", "ollama", "llama3.2:latest", map[string]string{"/api/ps": `{"models":[{"name":"llama3.2:latest","expires_at":"2318-09-21T00:00:00Z"}]}`}, Awake},
		{"ollama, loaded", "ollama", "llama3.2:latest", map[string]string{"/api/ps": `{"models":[{"model":"llama3.2:latest","expires_at":"2026-11-28T23:59:00.123Z"}]}`}, Idles},
		{"ollama, unloaded", "ollama", "llama3.2:latest", map[string]string{"/api/ps": `{"models":[]}`}, Loads},
		{"ollama that does not say", "ollama", "m", nil, Awake},
		{"who never rests", "tei", "m", nil, Awake},
	} {
		if got, detail := find(t, tt.engine).Rests(server(tt.answers), tt.model); got != tt.want || (got == Awake) != (detail == "") {
			t.Errorf("%s: got %v, %q, want %v", tt.name, got, detail, tt.want)
		}
	}
}

func TestParseModels(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"those that are loaded come first", llamaRouter, "b a c"},
		{"in their order", `{"data":[{"id":"a"},{"id":"b","parent":"a"}]}`, "a b"},
		{"names that are none", `{"data":[{"id":"a\nb"},{"id":" a"},{"id":"` + strings.Repeat("x", 1000) + `"},{"id":"a"}]}`, "a"},
		{"only names that are none", `{"data":[{"id":"a\u001b[31m"}]}`, "an error"},
		{"none", `{"data":[]}`, ""},
		{"no name", `{"data":[{}]}`, "an error"},
		{"no list", `{}`, "an error"},
		{"not JSON", `<html>`, "an error"},
	} {
		models, err := ParseModels([]byte(tt.body))
		var ids []string
		for _, m := range models {
			ids = append(ids, m.ID)
		}
		got := strings.Join(ids, " ")
		if err != nil {
			got = "an error"
		}
		if got != tt.want {
			t.Errorf("%s: got %q (%v), want %q", tt.name, got, err, tt.want)
		}
	}
}
