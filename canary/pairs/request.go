package pairs

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Path is where both halves of a canary go.
const Path = "/v1/completions"

// promptWords is how long a canary's prompt is. What is handed over are whole blocks of the KV
// cache, of 16 to 128 tokens, and a prompt that fills none tells nothing.
const promptWords = 200

// prompt is one that nobody has in a cache: what distinguishes it is at its beginning.
func prompt(nonce uint64) string {
	return fmt.Sprintf("%x:%s", nonce, strings.Repeat(" 1 2 3 4 5 6 7 8", promptWords/8))
}

// body is what both halves have in common.
type body struct {
	Model       string          `json:"model,omitempty"`
	Prompt      string          `json:"prompt"`
	MaxTokens   int             `json:"max_tokens"`
	Temperature int             `json:"temperature"`
	Stream      bool            `json:"stream"`
	Params      json.RawMessage `json:"kv_transfer_params,omitempty"` // vLLM's
}

// toRead asks vLLM to keep what it reads until somebody has fetched it.
const toRead = `{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}`

// Request is what a router of vLLM's asks the engine that prefills: to read a prompt, and to write
// no more than a token. Source: vLLM's tests/v1/kv_connector/nixl_integration/toy_proxy_server.py.
func Request(model string, nonce uint64) []byte {
	return encode(body{Model: model, Prompt: prompt(nonce), MaxTokens: 1, Params: json.RawMessage(toRead)})
}

// Reply is what follows from the answer: what the engine that decodes is asked, and who has read
// the prompt. Not ok: the first one does not hand over what it reads.
func Reply(model string, nonce uint64, answer []byte) (request []byte, by Peer, ok bool) {
	var said struct {
		Params json.RawMessage `json:"kv_transfer_params"`
	}
	if json.Unmarshal(answer, &said) != nil || len(said.Params) == 0 || said.Params[0] != '{' {
		return nil, Peer{}, false
	}
	request = encode(body{Model: model, Prompt: prompt(nonce), MaxTokens: 2, Params: said.Params})
	var s Scanner
	s.Scan(request)
	by = s.Peer()
	return request, by, by.Name() != ""
}

func encode(b any) []byte {
	doc, err := json.Marshal(b)
	if err != nil {
		return nil // unreachable: it marshals
	}
	return doc
}
