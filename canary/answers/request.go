package answers

import (
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"math"
	"regexp"
	"slices"
	"strings"
)

// Prompts are what is asked, by number. Whoever changes one changes the Revision of all.
func Prompts() []string {
	return []string{
		"1, 2, 3, 4, 5, 6, 7, 8,",
		"Monday, Tuesday, Wednesday,",
		"The capital of Italy is Rome. The capital of France is",
		"a b c d e f g h i j",
		"def add(a, b):\n    return",
		"The opposite of hot is cold. The opposite of big is",
		`{"name": "Ada", "age": 36, "city":`,
		"Once upon a time there was",
	}
}

// Request is the body that asks for a prompt, of a model ("": the engine's own). Without logprobs,
// the engine is not asked for any: some refuse to be.
func Request(prompt int, chat bool, model string, logprobs bool) ([]byte, error) {
	body := map[string]any{"temperature": 0, "max_tokens": MaxTokens, "stream": false}
	if model != "" {
		body["model"] = model
	}
	text := Prompts()[prompt]
	switch {
	case chat:
		body["messages"] = []map[string]string{{"role": "user", "content": text}}
		if logprobs {
			body["logprobs"], body["top_logprobs"] = true, 2
		}
	default:
		body["prompt"] = text
		if logprobs {
			body["logprobs"] = 2
		}
	}
	return json.Marshal(body)
}

// Revision is the digest of what answers: each part of it, and the prompts.
func Revision(parts ...string) uint64 {
	h := fnv.New64a()
	for _, s := range append(Prompts(), parts...) {
		_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(s)))) // a hash takes anything
		_, _ = h.Write([]byte(s))
	}
	return h.Sum64()
}

// document is an answer in OpenAI's form; llama.cpp has a chat's logprobs in completions, too.
type document struct {
	Choices []struct {
		Text    *string `json:"text"`
		Message *struct {
			Content   *string `json:"content"`
			Reasoning *string `json:"reasoning_content"`
		} `json:"message"`
		Logprobs *struct {
			Tokens    []string              `json:"tokens"`
			Chosen    []*float64            `json:"token_logprobs"`
			Likeliest []map[string]*float64 `json:"top_logprobs"`
			Content   []struct {
				logprob
				Likeliest []logprob `json:"top_logprobs"`
			} `json:"content"`
		} `json:"logprobs"`
	} `json:"choices"`
}

type logprob struct {
	Token   string   `json:"token"`
	Logprob *float64 `json:"logprob"`
}

// tieBelow is how much less likely than the chosen token another may be, in nats, to be nearly as
// likely. Logits in bfloat16 have steps of 0.125 where they are 16 to 32.
const tieBelow = 0.5

// notNumber finds what Python writes for numbers that JSON does not have.
var notNumber = regexp.MustCompile(`([\[:,]\s*)(NaN|-?Infinity)\b`)

// Read reads an answer: a sample without Revision and Prompt. ok is false where it is no answer in
// a form that is known.
func Read(body []byte) (s Sample, ok bool) {
	s.Logprob = NoLogprob
	var doc document
	if err := json.Unmarshal(body, &doc); err != nil {
		if !notNumber.Match(body) || json.Unmarshal(notNumber.ReplaceAll(body, []byte("${1}null")), &doc) != nil {
			return s, false
		}
		// A token that an engine rules out has the logprob -Infinity, rightly.
		if slices.ContainsFunc(notNumber.FindAllSubmatch(body, -1), func(found [][]byte) bool { return string(found[2]) == "NaN" }) {
			s.Flaws |= NotNumber
		}
	}
	if len(doc.Choices) == 0 {
		return s, false
	}
	c := doc.Choices[0]
	var texts []string
	if c.Logprobs != nil {
		texts = s.logprobs(doc)
	}
	if texts == nil {
		text := ""
		switch {
		case c.Text != nil:
			text = *c.Text
		case c.Message != nil:
			for _, part := range []*string{c.Message.Reasoning, c.Message.Content} {
				if part != nil {
					text += *part
				}
			}
		default:
			return s, false
		}
		texts = words(text)
	}
	for _, t := range texts[:min(len(texts), MaxTokens)] {
		h := fnv.New32a()
		_, _ = h.Write([]byte(t)) // as above
		sum := h.Sum32()
		s.Tokens = append(s.Tokens, byte(sum^sum>>8^sum>>16^sum>>24))
	}
	switch {
	case len(texts) == 0:
		s.Flaws |= Empty
	case len(texts) >= MaxTokens/2 && same(texts):
		s.Flaws |= Repeats
	}
	return s, true
}

// logprobs takes in what the engine tells of each token, and returns their texts.
func (s *Sample) logprobs(doc document) (texts []string) {
	l := doc.Choices[0].Logprobs
	sum, n := 0.0, 0
	token := func(text string, chosen *float64, others func(yield func(string, *float64) bool)) {
		i := len(texts)
		texts = append(texts, text)
		if i >= MaxTokens {
			return
		}
		if chosen == nil || math.IsNaN(*chosen) || math.IsInf(*chosen, 0) {
			s.Flaws |= NotNumber
			return
		}
		sum, n = sum+*chosen, n+1
		for other, p := range others {
			if other != text && p != nil && *p > *chosen-tieBelow {
				s.Ties |= 1 << i
			}
		}
	}
	for _, t := range l.Content {
		token(t.Token, t.Logprob, func(yield func(string, *float64) bool) {
			for _, o := range t.Likeliest {
				if !yield(o.Token, o.Logprob) {
					return
				}
			}
		})
	}
	if len(l.Content) == 0 && len(l.Tokens) == len(l.Chosen) {
		for i, text := range l.Tokens {
			token(text, l.Chosen[i], func(yield func(string, *float64) bool) {
				if i >= len(l.Likeliest) {
					return
				}
				for other, p := range l.Likeliest[i] {
					if !yield(other, p) {
						return
					}
				}
			})
		}
	}
	if n > 0 {
		s.Logprob = int16(min(max(100*sum/float64(n), math.MinInt16+1), math.MaxInt16))
	}
	return texts
}

// words stand in for tokens that the engine does not tell: each begins at a blank.
func words(text string) (all []string) {
	for len(text) > 0 {
		end := len(text)
		if i := strings.IndexAny(text[1:], " \n"); i >= 0 {
			end = i + 1
		}
		all, text = append(all, text[:end]), text[end:]
	}
	return all
}

func same(texts []string) bool {
	for _, t := range texts {
		if t != texts[0] {
			return false
		}
	}
	return true
}
