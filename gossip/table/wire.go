package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The first two bytes of every message. Package gossip may use the types from FirstFreeType on for
// its own.
const (
	Version       byte = 2
	TypeBatch     byte = 1
	TypeDigest    byte = 2
	TypeHave      byte = 3
	FirstFreeType byte = 16
)

// Bounds of what is accepted, and of what is sent over a reliable transport.
const (
	maxMessage = 128 << 10 // bytes of a message
	maxEntry   = 16 << 10  // bytes of what is kept of an entry
	maxName    = 4 << 10   // bytes of an endpoint's name, its three parts together
	maxBatch   = 64 << 10  // bytes of a message for a reliable transport: every entry fits
)

// The errors of Merge, ParseDigest and Missing. A message with an error has had no effect at all.
var (
	errVersion   = errors.New("message of another version")
	errType      = errors.New("message of another type")
	errMalformed = errors.New("malformed message")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// openMessage returns the body of a message.
func openMessage(message []byte, want byte) ([]byte, error) {
	switch {
	case len(message) < 2:
		return nil, malformed("%d bytes", len(message))
	case len(message) > maxMessage:
		return nil, malformed("%d bytes, more than %d", len(message), maxMessage)
	case message[0] != Version:
		return nil, fmt.Errorf("%w: %d", errVersion, message[0])
	case message[1] != want:
		return nil, fmt.Errorf("%w: %d", errType, message[1])
	}
	return message[2:], nil
}

// Protobuf's wire format, as far as messages of this version have it: everything but groups, which
// proto3 does not know. The codec is written by hand for three reasons: entries are kept and passed
// on as the bytes of their author, packets are filled to the byte, and the package must link the
// standard library only. A test holds it to google.golang.org/protobuf/encoding/protowire.

// wireType is how a field's value is written.
type wireType uint8

const (
	varintType  wireType = 0
	fixed64Type wireType = 1
	bytesType   wireType = 2
	fixed32Type wireType = 5
)

// maxFieldNumber is the highest that protowire reads.
const maxFieldNumber = math.MaxInt32

// field is one field of a message.
type field struct {
	number uint32
	typ    wireType
	value  uint64 // varint, fixed64, fixed32
	bytes  []byte // bytes; shares memory with the message
	raw    []byte // the whole field, tag included; shares memory with the message
}

// readField returns the first field of a message and what follows it. b must not be empty.
func readField(b []byte) (f field, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag>>3 == 0 || tag>>3 > maxFieldNumber {
		return f, nil, errors.New("a field without a number")
	}
	f.number, f.typ = uint32(tag>>3), wireType(tag&7)
	rest = b[n:]
	var size int
	switch f.typ {
	case varintType:
		if f.value, size = binary.Uvarint(rest); size <= 0 {
			return f, nil, errors.New("a varint without an end")
		}
	case fixed64Type:
		if size = 8; len(rest) >= size {
			f.value = binary.LittleEndian.Uint64(rest)
		}
	case fixed32Type:
		if size = 4; len(rest) >= size {
			f.value = uint64(binary.LittleEndian.Uint32(rest))
		}
	case bytesType:
		length, n := binary.Uvarint(rest)
		if n <= 0 || length > uint64(len(rest)-n) {
			return f, nil, errors.New("a length beyond the end")
		}
		size = n + int(length)
		f.bytes = rest[n:size:size]
	default:
		return f, nil, errors.New("a field of an unknown type")
	}
	if size > len(rest) {
		return f, nil, errors.New("a number beyond the end")
	}
	f.raw = b[: n+size : n+size]
	return f, rest[size:], nil
}

// eachField calls visit with each field of a message. Its errors are errMalformed, and those of
// visit.
func eachField(b []byte, visit func(field) error) error {
	for len(b) > 0 {
		f, rest, err := readField(b)
		if err != nil {
			return malformed("%v", err)
		}
		if err := visit(f); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

func appendTag(b []byte, number uint32, typ wireType) []byte {
	return binary.AppendUvarint(b, uint64(number)<<3|uint64(typ))
}

func appendVarint(b []byte, number uint32, v uint64) []byte {
	return binary.AppendUvarint(appendTag(b, number, varintType), v)
}

func appendFixed64(b []byte, number uint32, v uint64) []byte {
	return binary.LittleEndian.AppendUint64(appendTag(b, number, fixed64Type), v)
}

func appendBytes[T string | []byte](b []byte, number uint32, v T) []byte {
	return append(appendLength(b, number, len(v)), v...)
}

// appendLength begins a field of n bytes, which the caller appends.
func appendLength(b []byte, number uint32, n int) []byte {
	return binary.AppendUvarint(appendTag(b, number, bytesType), uint64(n))
}

// sizeVarint is how many bytes a varint takes.
func sizeVarint(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}
