package answers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// MaxTokens is how long an answer is.
const MaxTokens = 24

// Sample is what is told of one answer, and of the real requests since the last one.
type Sample struct {
	// Revision is a digest of what answered, and of how it was asked. Samples of different revisions
	// are not compared.
	Revision uint64

	Prompt uint8  // its number; NoPrompt: nothing was asked, and what follows is of real requests
	Tokens []byte // one byte of each token's text, MaxTokens at most
	Ties   uint32 // bit n: another token than the nth was nearly as likely

	// Logprob is the mean of the tokens' logprobs, in hundredths of a nat. NoLogprob: the engine does
	// not tell them.
	Logprob int16

	Flaws Flaws

	// Of real requests since the last sample: those that were answered, and those whose answer is
	// garbage by itself.
	Answered, Garbage uint16
}

const (
	// NoPrompt stands for nothing that was asked.
	NoPrompt = math.MaxUint8

	// NoLogprob stands for none.
	NoLogprob = math.MinInt16
)

// Flaws are what an answer, or the engine's own counter of corrupt requests, shows without any
// other answer to compare it with.
type Flaws uint8

// The flaws.
const (
	Empty     Flaws = 1 << iota // no token at all
	Repeats                     // one token over and over
	NotNumber                   // a logprob that is no number
	Corrupted                   // the engine counts requests that it corrupted, and there were more
)

// String says what is wrong, for people.
func (f Flaws) String() string {
	for _, known := range []struct {
		flaw  Flaws
		words string
	}{
		{NotNumber, "logprobs that are no numbers"}, {Corrupted, "requests that the engine itself counts as corrupted"},
		{Empty, "no token at all"}, {Repeats, "one token over and over"},
	} {
		if f&known.flaw != 0 {
			return known.words
		}
	}
	return ""
}

// version is the first byte of a sample.
const version = 1

// head is how many bytes stand before the tokens.
const head = 1 + 8 + 1 + 1 + 4 + 2 + 2 + 2 + 1

// Encode returns the sample as it is told: head and tokens, in big endian.
func (s Sample) Encode() string {
	b := make([]byte, 0, head+MaxTokens)
	b = append(b, version)
	b = binary.BigEndian.AppendUint64(b, s.Revision)
	b = append(b, s.Prompt, byte(s.Flaws))
	b = binary.BigEndian.AppendUint32(b, s.Ties)
	b = binary.BigEndian.AppendUint16(b, uint16(s.Logprob))
	b = binary.BigEndian.AppendUint16(b, s.Answered)
	b = binary.BigEndian.AppendUint16(b, s.Garbage)
	tokens := s.Tokens[:min(len(s.Tokens), MaxTokens)]
	b = append(b, byte(len(tokens)))
	return string(append(b, tokens...))
}

var errVersion = errors.New("sample of answers: another version")

// Decode reads what Encode has written. What is behind the tokens is a later version's to say.
func Decode(sample string) (Sample, error) {
	b := []byte(sample)
	if len(b) == 0 || b[0] != version {
		return Sample{}, errVersion
	}
	if len(b) < head {
		return Sample{}, fmt.Errorf("sample of answers: %d bytes, want %d at least", len(b), head)
	}
	s := Sample{
		Revision: binary.BigEndian.Uint64(b[1:]), Prompt: b[9], Flaws: Flaws(b[10]),
		Ties: binary.BigEndian.Uint32(b[11:]), Logprob: int16(binary.BigEndian.Uint16(b[15:])),
		Answered: binary.BigEndian.Uint16(b[17:]), Garbage: binary.BigEndian.Uint16(b[19:]),
	}
	n := int(b[head-1])
	if n > MaxTokens || len(b) < head+n {
		return Sample{}, fmt.Errorf("sample of answers: %d tokens in %d bytes", n, len(b))
	}
	s.Tokens = bytes.Clone(b[head : head+n])
	if int(s.Prompt) >= len(Prompts()) && s.Prompt != NoPrompt {
		return Sample{}, fmt.Errorf("sample of answers: prompt %d", s.Prompt)
	}
	s.Garbage = min(s.Garbage, s.Answered)
	return s, nil
}

// Compare says at which token two answers to the same prompt differ first, and whether that is a
// tie: for both, another token was nearly as likely. (An engine that is broken may find all tokens
// alike, where the others have no doubt.) at is -1 where they do not differ. Behind a tie the texts
// are different ones, of which nothing follows.
func Compare(a, b Sample) (at int, tie bool) {
	for i := range max(len(a.Tokens), len(b.Tokens)) {
		if i < len(a.Tokens) && i < len(b.Tokens) && a.Tokens[i] == b.Tokens[i] {
			continue
		}
		return i, a.Ties&b.Ties&(1<<i) != 0
	}
	return -1, false
}
