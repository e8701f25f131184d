// Package model makes models of random weights for tests: small enough to cost nothing, in the
// forms that engines read.
package model

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// shape is that of a Llama too small to say anything. What it costs to run is nothing; its words
// are printable, and go on to max_tokens.
type shape struct{ width, hidden, layers, heads, context int }

// Tokens of context that the models take.
const (
	GGUFContext        = 16384
	HuggingFaceContext = 4096
)

// A tensor is a matrix of random numbers, or a row of ones.
type tensor struct {
	name       string
	rows, cols int
	scale      float64 // of each row: scaleOf, where it is set
	scaleOf    func(row int) float64
	weights    uint64 // which of many
}

// values are the same in every run.
func (w tensor) values() []float32 {
	random := rand.New(rand.NewPCG(1+w.weights, uint64(len(w.name)*1000+w.rows)))
	out := make([]float32, 0, w.rows*w.cols)
	for row := range w.rows {
		scale := w.scale
		if w.scaleOf != nil {
			scale = w.scaleOf(row)
		}
		for range w.cols {
			if scale == 0 {
				out = append(out, 1)
			} else {
				out = append(out, float32(random.NormFloat64()*scale))
			}
		}
	}
	return out
}

const firstWord = 3 + 256 // after three special tokens and one for each byte

// GGUF writes a model in llama.cpp's format and returns its file.
// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
func GGUF(t testing.TB) string { return gguf(t, 0, 0.3) }

// DecidedGGUF writes one that has hardly any doubt which token comes next, with weights by number:
// all have the same shape and name.
func DecidedGGUF(t testing.TB, weights uint64) string { return gguf(t, weights, 3) }

// gguf writes a model; sharp is how much its tokens differ in how likely they are.
func gguf(t testing.TB, weights uint64, sharp float64) string {
	t.Helper()
	s := shape{width: 64, hidden: 128, layers: 2, heads: 4, context: GGUFContext}
	const normal, unknown, control, single = 1, 2, 3, 6
	tokens, types := []string{"<unk>", "<s>", "</s>"}, []int32{unknown, control, control}
	add := func(kind int32, text string) {
		tokens, types = append(tokens, text), append(types, kind)
	}
	for b := range 256 {
		add(single, fmt.Sprintf("<0x%02X>", b))
	}
	add(normal, "▁") // a space
	for c := '!'; c <= '~'; c++ {
		add(normal, string(c))
	}
	for _, c := range "bdfgklmnprst" {
		for _, v := range "aeiou" {
			add(normal, string([]rune{'▁', c, v}))
			add(normal, string([]rune{c, v}))
		}
	}
	scores := make([]float32, len(tokens))
	for i := range scores {
		scores[i] = -float32(i)
	}

	w := &ggufWriter{weights: weights}
	w.field("general.architecture", "llama")
	w.field("general.name", "tiny-random")
	w.field("llama.context_length", uint32(s.context))
	w.field("llama.embedding_length", uint32(s.width))
	w.field("llama.block_count", uint32(s.layers))
	w.field("llama.feed_forward_length", uint32(s.hidden))
	w.field("llama.attention.head_count", uint32(s.heads))
	w.field("llama.attention.layer_norm_rms_epsilon", float32(1e-5))
	w.field("llama.rope.dimension_count", uint32(s.width/s.heads))
	w.field("llama.vocab_size", uint32(len(tokens)))
	w.field("tokenizer.ggml.model", "llama")
	w.field("tokenizer.ggml.pre", "default")
	w.field("tokenizer.ggml.tokens", tokens)
	w.field("tokenizer.ggml.scores", scores)
	w.field("tokenizer.ggml.token_type", types)
	w.field("tokenizer.ggml.bos_token_id", uint32(1))
	w.field("tokenizer.ggml.eos_token_id", uint32(2))
	w.field("tokenizer.ggml.unknown_token_id", uint32(0))
	w.field("tokenizer.ggml.add_bos_token", true)
	w.field("tokenizer.chat_template", "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:")

	w.tensor(tensor{name: "token_embd.weight", rows: len(tokens), cols: s.width, scale: 1})
	w.tensor(tensor{name: "output_norm.weight", rows: 1, cols: s.width})
	w.tensor(tensor{name: "output.weight", rows: len(tokens), cols: s.width, scaleOf: func(row int) float64 {
		if row < firstWord {
			return 0.003 // hardly ever said
		}
		return sharp
	}})
	for i := range s.layers {
		block := fmt.Sprintf("blk.%d.", i)
		w.tensor(tensor{name: block + "attn_norm.weight", rows: 1, cols: s.width})
		w.tensor(tensor{name: block + "ffn_norm.weight", rows: 1, cols: s.width})
		for _, part := range []string{"attn_q", "attn_k", "attn_v", "attn_output"} {
			w.tensor(tensor{name: block + part + ".weight", rows: s.width, cols: s.width, scale: 0.05})
		}
		w.tensor(tensor{name: block + "ffn_gate.weight", rows: s.hidden, cols: s.width, scale: 0.05})
		w.tensor(tensor{name: block + "ffn_up.weight", rows: s.hidden, cols: s.width, scale: 0.05})
		w.tensor(tensor{name: block + "ffn_down.weight", rows: s.width, cols: s.hidden, scale: 0.05})
	}
	file := filepath.Join(t.TempDir(), "tiny.gguf")
	if err := os.WriteFile(file, w.bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const ggufAlign = 32 // bytes

// ggufWriter collects a file's parts.
type ggufWriter struct {
	fields, infos, data bytes.Buffer
	nFields, nTensors   uint64
	weights             uint64
}

func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		if text, ok := v.(string); ok {
			put(b, uint64(len(text)))
			b.WriteString(text)
			continue
		}
		_ = binary.Write(b, binary.LittleEndian, v) // a buffer takes all
	}
}

// ggufType is the number of a value's type in the format.
func ggufType(v any) uint32 {
	switch v.(type) {
	case uint32:
		return 4
	case int32:
		return 5
	case float32:
		return 6
	case bool:
		return 7
	case string:
		return 8
	default:
		return 9 // an array
	}
}

func (w *ggufWriter) field(name string, v any) {
	w.nFields++
	put(&w.fields, name, ggufType(v))
	switch v := v.(type) {
	case []string:
		put(&w.fields, ggufType(""), uint64(len(v)))
		for _, text := range v {
			put(&w.fields, text)
		}
	case []float32:
		put(&w.fields, ggufType(float32(0)), uint64(len(v)), v)
	case []int32:
		put(&w.fields, ggufType(int32(0)), uint64(len(v)), v)
	default:
		put(&w.fields, v)
	}
}

func (w *ggufWriter) tensor(of tensor) {
	w.nTensors++
	dimensions := []uint64{uint64(of.cols), uint64(of.rows)} // the innermost first
	if of.rows == 1 {
		dimensions = dimensions[:1]
	}
	const float32s = 0
	put(&w.infos, of.name, uint32(len(dimensions)), dimensions, uint32(float32s), uint64(w.data.Len()))
	of.weights = w.weights
	put(&w.data, of.values())
	pad(&w.data)
}

func pad(b *bytes.Buffer) {
	for b.Len()%ggufAlign != 0 {
		b.WriteByte(0)
	}
}

func (w *ggufWriter) bytes() []byte {
	var out bytes.Buffer
	out.WriteString("GGUF")
	put(&out, uint32(3), w.nTensors, w.nFields)
	out.Write(w.fields.Bytes())
	out.Write(w.infos.Bytes())
	pad(&out)
	out.Write(w.data.Bytes())
	return out.Bytes()
}
