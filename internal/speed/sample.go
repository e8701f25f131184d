package speed

import (
	"encoding/binary"
	"errors"
	"time"
)

// Kind is something that takes time.
type Kind uint8

// The kinds. Their order is that of the wire: new ones go to the end.
const (
	Token  Kind = iota // of a streamed answer, each after the first
	First              // the beginning of an answer, from its request's arrival on
	Whole              // of an answer in one piece, each of its tokens
	Canary             // a canary, of an endpoint that had nothing else to do
	Kinds              // how many there are
)

// String returns what one of the kind is called.
func (k Kind) String() string {
	switch k {
	case Token:
		return "a token"
	case First:
		return "to the first token"
	case Whole:
		return "a token of whole answers"
	case Canary:
		return "a canary"
	}
	return "unknown"
}

// Mean is how long something took.
type Mean struct {
	Count uint64
	Took  time.Duration // each, on average; microseconds on the wire
}

// Sample is what was measured of an endpoint within a window.
type Sample struct {
	Window time.Duration // tenths of a second on the wire
	Took   [Kinds]Mean   // of kinds of which there were none, zero

	// What the endpoint had to do, on average over the window: requests whose answers were coming, and
	// requests that waited for the first piece of theirs; hundredths on the wire.
	Running, Waiting float64

	Prompt float64 // tokens of a request whose answer began, on average; whole ones on the wire
}

// Empty says whether nothing was measured.
func (s Sample) Empty() bool { return s.Took == [Kinds]Mean{} }

// Bytes of a sample.
const (
	version = 1

	// MaxBytes is the length of the longest.
	MaxBytes = 60
)

// Bounds, beyond which a number is taken for the bound: so no sample is longer than MaxBytes.
const (
	maxWindow = time.Hour
	maxTook   = time.Hour
	maxCount  = 1 << 27 // four bytes
	maxLoad   = 1 << 20
	maxPrompt = 1 << 27
)

var errSample = errors.New("no sample that this version knows")

// Encode writes a sample.
//
//	version, window, running, waiting, prompt,
//	the kinds of which there were some, a bit each; of each of them the count, and how long it took
//
// All numbers are unsigned varints.
func (s Sample) Encode() string {
	b := make([]byte, 0, MaxBytes)
	number := func(v float64, most uint64) {
		n := uint64(0)
		switch {
		case v >= float64(most):
			n = most
		case v > 0: // and no NaN
			n = uint64(v + 0.5)
		}
		b = binary.AppendUvarint(b, n)
	}
	b = append(b, version)
	number(float64(s.Window)/float64(100*time.Millisecond), uint64(maxWindow/(100*time.Millisecond)))
	number(s.Running*100, maxLoad*100)
	number(s.Waiting*100, maxLoad*100)
	number(s.Prompt, maxPrompt)
	kinds := uint64(0)
	for k, m := range s.Took {
		if m.Count > 0 {
			kinds |= 1 << k
		}
	}
	b = binary.AppendUvarint(b, kinds)
	for _, m := range s.Took {
		if m.Count > 0 {
			number(float64(m.Count), maxCount)
			number(float64(m.Took)/float64(time.Microsecond), uint64(maxTook/time.Microsecond))
		}
	}
	return string(b)
}

// Parse reads what Encode has written. What follows is for later versions, and is left alone; so
// are kinds that are not known.
func Parse(text string) (Sample, error) {
	b, bad := []byte(text), len(text) > MaxBytes
	number := func(most uint64) float64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > most {
			bad = true
			return 0
		}
		b = b[n:]
		return float64(v)
	}
	if number(version) != version {
		return Sample{}, errSample
	}
	var s Sample
	s.Window = time.Duration(number(uint64(maxWindow/(100*time.Millisecond)))) * 100 * time.Millisecond
	s.Running, s.Waiting = number(maxLoad*100)/100, number(maxLoad*100)/100
	s.Prompt = number(maxPrompt)
	kinds := uint64(number(1<<20 - 1))
	for k := range s.Took {
		if kinds&(1<<k) == 0 {
			continue
		}
		s.Took[k].Count = uint64(number(maxCount))
		s.Took[k].Took = time.Duration(number(uint64(maxTook/time.Microsecond))) * time.Microsecond
		bad = bad || s.Took[k].Count == 0
	}
	if bad || s.Window <= 0 {
		return Sample{}, errSample
	}
	return s, nil
}
