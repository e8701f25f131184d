package pairs

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func scan(request string, size int) Peer {
	var s Scanner
	for b := []byte(request); len(b) > 0; b = b[min(size, len(b)):] {
		s.Scan(b[:min(size, len(b))])
	}
	return s.Peer()
}

// nixl is what vLLM's NixlConnector hands over.
const nixl = `"kv_transfer_params":{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[[1,2,3]],"remote_engine_id":"0d1c-e_dp0",` +
	`"remote_request_id":"cmpl-1","remote_host":"10.0.0.3","remote_port":5600,"tp_size":1}`

func TestScanner(t *testing.T) {
	of := Peer{Engine: "0d1c-e_dp0", Addr: "10.0.0.3:5600"}
	for _, tt := range []struct {
		name, request string
		want          Peer
	}{
		{"nobody", `{"prompt":"a","max_tokens":1}`, Peer{}},
		{"vLLM's NixlConnector, behind the prompt", `{"prompt":"say \"remote_engine_id\": \\",` + nixl + `}`, of},
		{"before it", `{` + nixl + `, "messages":[{"role":"user","content":"a"}]}`, of},
		{"by tokens", `{"prompt":[1,22,333],` + nixl + `}`, of},
		{"in front of the engine that reads", `{"prompt":"a","kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}}`, Peer{}},
		{"of those that know each other", `{"kv_transfer_params":{"remote_engine_id":"x","do_remote_decode":true}}`, Peer{}},
		{"vLLM's MooncakeConnector", `{"kv_transfer_params":{"remote_engine_id":"x","remote_bootstrap_addr":"http://10.0.0.3:8998","transfer_id":"t"}}`, Peer{Engine: "x", Addr: "10.0.0.3:8998"}},
		{"SGLang", `{"text":"a","bootstrap_host":"10.0.0.3","bootstrap_port":8998,"bootstrap_room":1234}`, Peer{Addr: "10.0.0.3:8998"}},
		{"SGLang's batches", `{"text":["a","b"],"bootstrap_host":["10.0.0.3","10.0.0.4"],"bootstrap_port":[null,null],"bootstrap_room":[1,2]}`, Peer{Addr: "10.0.0.3"}},
		{"SGLang, alone", `{"text":"a","bootstrap_host":"2.2.2.2","bootstrap_port":8998,"bootstrap_room":0}`, Peer{}},
		{"over IPv6", `{"bootstrap_host":"fd00::3","bootstrap_port":8998}`, Peer{Addr: "[fd00::3]:8998"}},
		{"over IPv6, as in a URL", `{"bootstrap_host":"[fd00::3]","bootstrap_port":8998}`, Peer{Addr: "[fd00::3]:8998"}},
		{"the same without a port", `{"bootstrap_host":"[fd00::3]","bootstrap_port":null}`, Peer{Addr: "fd00::3"}},
		{"a URL with more in it", `{"kv_transfer_params":{"remote_bootstrap_addr":"http://me:secret@10.0.0.3:8998/"}}`, Peer{Addr: "10.0.0.3:8998"}},
		{"a URL without a port", `{"kv_transfer_params":{"remote_bootstrap_addr":"http://[fd00::3]"}}`, Peer{Addr: "fd00::3"}},
		{"TensorRT-LLM", `{"prompt":"a","disaggregated_params":{"request_type":"generation_only","ctx_request_id":5,"ctx_info_endpoint":"tcp://10.0.0.3:5000"}}`, Peer{Addr: "10.0.0.3:5000"}},
		{"as a list", `{"disaggregated_params":{"ctx_info_endpoint":["tcp://10.0.0.3:5000"]}}`, Peer{Addr: "10.0.0.3:5000"}},
		{"Dynamo", `{"token_ids":[1],"prefill_result":{"disaggregated_params":{"kv_transfer_params":{"remote_engine_id":"x","remote_host":"h","remote_port":"1"}}}}`, Peer{Engine: "x", Addr: "h:1"}},
		{"another's words", `{"metadata":{"kv_transfer_params":{"remote_engine_id":"x"}},"tools":[{"remote_engine_id":"y"}],"messages":[{"bootstrap_host":"z"}]}`, Peer{}},
		{"a text that looks like it", `{"prompt":"{\"kv_transfer_params\":{\"remote_engine_id\":\"x\"}}"}`, Peer{}},
		{"a value that is none", `{"kv_transfer_params":{"remote_engine_id":{"remote_engine_id":"x"},"remote_host":true}}`, Peer{}},
		{"what does not show", `{"kv_transfer_params":{"remote_engine_id":"a\u0007b"}}`, Peer{}},
		{"several lines", "{\"kv_transfer_params\":{\"remote_engine_id\":\"a\nb\"}}", Peer{}},
		{"too long", `{"kv_transfer_params":{"remote_engine_id":"` + strings.Repeat("x", 65) + `"}}`, Peer{}},
		{"too long, both of it", `{"kv_transfer_params":{"remote_host":"` + strings.Repeat("h", maxHost) + `","remote_port":"` + strings.Repeat("9", maxHost) + `"}}`, Peer{}},
		{"no JSON", `remote_engine_id":"x"}}}]]],,,"`, Peer{}},
		{"too deep", strings.Repeat(`{"kv_transfer_params":`, 9) + `{"remote_engine_id":"x"}`, Peer{}},
		{"half of it", `{"kv_transfer_params":{"remote_engine_id":"x`, Peer{}},
	} {
		for _, size := range []int{1, 2, 7, 1 << 20} {
			if got := scan(tt.request, size); got != tt.want {
				t.Errorf("%s, in pieces of %d: got %+v, want %+v", tt.name, size, got, tt.want)
			}
		}
	}
}

func FuzzScanner(f *testing.F) {
	f.Add([]byte(`{"prompt":"a\\\"","kv_transfer_params":{"remote_engine_id":"x","remote_host":["h"]}}`), uint8(3))
	f.Add([]byte(`[[[{"a":[1, 2,"\\`), uint8(0))
	f.Add([]byte(`{"kv_transfer_params":{"remote_engine_id":"x","remote_host":"`+strings.Repeat("h", maxHost)+`","remote_port":"`+strings.Repeat("9", maxHost)+`"}}`), uint8(1))
	f.Add([]byte(strings.Repeat(`{"a":[`, 40)+`1,{"do_remote_decode":true`), uint8(1))
	f.Fuzz(func(t *testing.T, request []byte, size uint8) {
		whole, pieces := scan(string(request), len(request)+1), scan(string(request), int(size)+1)
		if whole != pieces {
			t.Errorf("in pieces of %d: %+v, as a whole: %+v", int(size)+1, pieces, whole)
		}
		if len(whole.Engine) > maxEngine || len(whole.Addr) > maxHost+len("[]:65535") || strings.ContainsFunc(whole.Engine+whole.Addr, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Errorf("it is %+v", whole)
		}
		// Whatever a prompt is, it neither hides who has read it nor names another.
		text, err := json.Marshal(string(request))
		if err != nil {
			t.Fatal(err)
		}
		prompt := fmt.Sprintf(`{"prompt":%s,"stop":[%s],%s,"user":%s}`, text, text, nixl, text)
		if got := scan(prompt, int(size)+1); got != (Peer{Engine: "0d1c-e_dp0", Addr: "10.0.0.3:5600"}) {
			t.Errorf("the prompt %s was read by %+v", text, got)
		}
	})
}

// What a request of about 1 MB costs that names nobody: 0.1 ms of plain text, 6 ms of escapes or
// tokens, on a machine that others used (2026).
func BenchmarkScanner(b *testing.B) {
	for name, request := range map[string]string{
		"text":   fmt.Sprintf(`{"prompt":%q,"max_tokens":1}`, strings.Repeat("It is a truth. ", 1<<16)),
		"lines":  fmt.Sprintf(`{"prompt":%q,"max_tokens":1}`, strings.Repeat("It is a truth.\n\"", 1<<16)),
		"tokens": `{"prompt":[` + strings.Repeat("12345,", 1<<17) + `1],"max_tokens":1}`,
	} {
		b.Run(name, func(b *testing.B) {
			body := []byte(request)
			b.SetBytes(int64(len(request)))
			b.ReportAllocs()
			for b.Loop() {
				var s Scanner
				s.Scan(body)
			}
		})
	}
}
