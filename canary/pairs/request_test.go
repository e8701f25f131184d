package pairs

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRequest(t *testing.T) {
	var first, second struct {
		Model, Prompt string
		MaxTokens     int            `json:"max_tokens"`
		Params        map[string]any `json:"kv_transfer_params"`
	}
	if err := json.Unmarshal(Request("llama", 7), &first); err != nil {
		t.Fatal(err)
	}
	if first.Model != "llama" || first.MaxTokens != 1 || first.Params["do_remote_decode"] != true || len(strings.Fields(first.Prompt)) <= promptWords {
		t.Errorf("the one that prefills is asked %+v", first)
	}
	answer := `{"choices":[],"kv_transfer_params":{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[[1]],"remote_engine_id":"p0","remote_host":"10.0.0.3","remote_port":5600}}`
	request, by, ok := Reply("llama", 7, []byte(answer))
	if err := json.Unmarshal(request, &second); err != nil || !ok || by != (Peer{Engine: "p0", Addr: "10.0.0.3:5600"}) {
		t.Fatalf("it was read by %+v, %v, %v", by, ok, err)
	}
	if second.Prompt != first.Prompt || second.MaxTokens != 2 || second.Params["remote_engine_id"] != "p0" || second.Params["remote_block_ids"] == nil {
		t.Errorf("the one that decodes is asked %+v", second)
	}
	if string(Request("llama", 8)[:60]) == string(Request("llama", 7)[:60]) {
		t.Error("two prompts begin alike: what was read before would be in a cache")
	}
	for _, none := range []string{"", "{}", `{"kv_transfer_params":null}`, `{"kv_transfer_params":"x"}`, `{"kv_transfer_params":{}}`, toRead} {
		if _, by, ok := Reply("", 7, []byte(none)); ok {
			t.Errorf("%s: it was read by %+v", none, by)
		}
	}
}
