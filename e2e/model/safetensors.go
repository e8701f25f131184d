package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// HuggingFace writes a model as a folder of Hugging Face's, with a token for each byte, and returns
// it. Its heads have 64 dimensions: with fewer, vLLM on a CPU dies at its first request.
func HuggingFace(t testing.TB) string {
	t.Helper()
	s := shape{width: 128, hidden: 256, layers: 2, heads: 2, context: HuggingFaceContext}
	const eos = 0
	vocabulary := map[string]int{"<|endoftext|>": eos}
	printable := map[int]bool{}
	for b, letter := range byteLetters() {
		id := len(vocabulary)
		vocabulary[letter] = id
		printable[id] = ' ' <= b && b <= '~'
	}
	rows := (len(vocabulary) + 63) / 64 * 64

	dir := t.TempDir()
	write := func(name string, doc any) {
		text, err := json.Marshal(doc)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	type object = map[string]any
	level := object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	write("tokenizer.json", object{
		"version": "1.0", "truncation": nil, "padding": nil, "normalizer": nil, "post_processor": nil,
		"pre_tokenizer": level, "decoder": level,
		"added_tokens": []object{{
			"id": eos, "content": "<|endoftext|>", "special": true,
			"single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
		}},
		"model": object{
			"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocabulary, "merges": []string{},
		},
	})
	write("tokenizer_config.json", object{
		"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
		"pad_token": "<|endoftext|>", "model_max_length": s.context,
		"chat_template": "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:",
	})
	write("generation_config.json", object{"bos_token_id": eos, "eos_token_id": eos})
	write("config.json", object{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "torch_dtype": "float32", "hidden_act": "silu",
		"hidden_size": s.width, "intermediate_size": s.hidden, "num_hidden_layers": s.layers,
		"num_attention_heads": s.heads, "num_key_value_heads": s.heads, "head_dim": s.width / s.heads,
		"vocab_size": rows, "max_position_embeddings": s.context, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
		"bos_token_id": eos, "eos_token_id": eos,
		"tie_word_embeddings": false, "attention_bias": false, "mlp_bias": false,
	})

	all := []tensor{
		{name: "model.embed_tokens.weight", rows: rows, cols: s.width, scale: 1},
		{name: "model.norm.weight", rows: 1, cols: s.width},
		{name: "lm_head.weight", rows: rows, cols: s.width, scaleOf: func(row int) float64 {
			if printable[row] {
				return 0.3
			}
			return 0.003 // hardly ever said
		}},
	}
	for i := range s.layers {
		block := fmt.Sprintf("model.layers.%d.", i)
		all = append(all,
			tensor{name: block + "input_layernorm.weight", rows: 1, cols: s.width},
			tensor{name: block + "post_attention_layernorm.weight", rows: 1, cols: s.width},
			tensor{name: block + "mlp.gate_proj.weight", rows: s.hidden, cols: s.width, scale: 0.05},
			tensor{name: block + "mlp.up_proj.weight", rows: s.hidden, cols: s.width, scale: 0.05},
			tensor{name: block + "mlp.down_proj.weight", rows: s.width, cols: s.hidden, scale: 0.05})
		for _, part := range []string{"q", "k", "v", "o"} {
			all = append(all, tensor{name: block + "self_attn." + part + "_proj.weight", rows: s.width, cols: s.width, scale: 0.05})
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), safetensors(t, all), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// byteLetters are the letters that stand for bytes in byte-level vocabularies, by byte.
func byteLetters() (letters [256]string) {
	next := rune(256)
	for b := range 256 {
		if '!' <= b && b <= '~' || 0xa1 <= b && b <= 0xac || 0xae <= b && b <= 0xff {
			letters[b] = string(rune(b))
		} else {
			letters[b] = string(next)
			next++
		}
	}
	return letters
}

// safetensors is a header in JSON, with where each tensor is, and the tensors.
// Source: https://github.com/huggingface/safetensors#format
func safetensors(t testing.TB, all []tensor) []byte {
	t.Helper()
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	var data bytes.Buffer
	for _, of := range all {
		dimensions := []int{of.rows, of.cols}
		if of.rows == 1 {
			dimensions = dimensions[1:]
		}
		began := data.Len()
		put(&data, of.values())
		header[of.name] = map[string]any{"dtype": "F32", "shape": dimensions, "data_offsets": []int{began, data.Len()}}
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	put(&out, uint64(len(text)))
	out.Write(text)
	out.Write(data.Bytes())
	return out.Bytes()
}
