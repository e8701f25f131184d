package observation

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// The first two bytes of every message. Package gossip may use the types from FirstFreeType on for its own.
const (
	Version       byte = 1
	TypeBatch     byte = 1
	TypeDigest    byte = 2
	TypeSummary   byte = 3
	FirstFreeType byte = 16
)

// Bounds of what is accepted.
const (
	MaxMessage = 128 << 10 // bytes of a message
	MaxEntry   = 16 << 10  // bytes of what is kept of an entry
	MaxName    = 4 << 10   // bytes of an endpoint's name, its three parts together
)

// Errors of Merge, ParseDigest and Answer. A message with an error has had no effect at all.
var (
	ErrVersion   = errors.New("message of another version")
	ErrType      = errors.New("message of another type")
	ErrMalformed = errors.New("malformed message")
)

func badf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// open returns the body of a message.
func open(message []byte, want byte) ([]byte, error) {
	switch {
	case len(message) < 2:
		return nil, badf("%d bytes", len(message))
	case len(message) > MaxMessage:
		return nil, badf("%d bytes, more than %d", len(message), MaxMessage)
	case message[0] != Version:
		return nil, fmt.Errorf("%w: %d", ErrVersion, message[0])
	case message[1] != want:
		return nil, fmt.Errorf("%w: %d", ErrType, message[1])
	}
	return message[2:], nil
}

// EachField calls f with each field of a protobuf message: v for bytes, n for numbers. Its errors are ErrMalformed, and those of f.
func EachField(b []byte, f func(num protowire.Number, typ protowire.Type, v []byte, n uint64) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return badf("%v", protowire.ParseError(n))
		}
		b = b[n:]
		var v []byte
		var number uint64
		switch typ {
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			number, n = protowire.ConsumeFixed64(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return badf("%v", protowire.ParseError(n))
		}
		b = b[n:]
		if err := f(num, typ, v, number); err != nil {
			return err
		}
	}
	return nil
}
