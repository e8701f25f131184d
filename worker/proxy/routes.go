package proxy

import (
	"net/http"
	"strings"
)

// routes are the paths, their ends at least, where a POST makes an engine work, and the operation
// that each is in OpenTelemetry's terms (gen_ai.operation.name). Sources: OpenAI's and Anthropic's
// API references; vLLM's, SGLang's and llama.cpp's servers; TEI, TGI, Triton (KServe) and Ollama.
func operationOf(path string) string {
	path = strings.TrimRight(path, "/")
	switch path[strings.LastIndexByte(path, '/')+1:] {
	case "completions":
		if strings.HasSuffix(path, "/chat/completions") {
			return "chat"
		}
		return "text_completion"
	case "messages", "chat", "responses":
		return "chat"
	case "completion", "infill", "generate", "generate_stream", "infer", "invocations":
		return "text_completion"
	case "embeddings", "embedding", "embed", "embed_all", "embed_sparse", "api_embed":
		return "embeddings"
	case "rerank", "reranking", "score", "classify", "pooling", "predict", "similarity", "encode":
		return "rerank"
	case "transcriptions", "translations", "speech", "generations", "edits", "variations":
		return "generate_content"
	}
	return ""
}

// Generates says whether a request makes an engine work, so that its end proves something. Lists of
// models, health and metrics do not.
func Generates(method, path string) bool {
	return method == http.MethodPost && operationOf(path) != ""
}
