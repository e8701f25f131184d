package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// Types of messages, as memberlist numbers them.
const (
	typePing         = 0
	typeIndirectPing = 1
	typeAck          = 2
	typeSuspect      = 3
	typeAlive        = 4
	typeDead         = 5
	typePushPull     = 6
	typeCompound     = 7
	typeUser         = 8
	typeCompress     = 9
	typeEncrypt      = 10
	typeCRC          = 12
	typeError        = 13

	// LabelByte begins each packet and each stream.
	LabelByte = 244
)

// Bounds. Members that are well stay far below them.
const (
	// MaxPacket is the longest packet, in bytes. Members send 1,200 at most.
	MaxPacket = 2 << 10

	// MaxStream is the longest stream, in bytes, and MaxNodes how many members a push/pull names.
	MaxStream = 16 << 20
	MaxNodes  = 16384

	// MaxMessage is the longest message of the pool's in a stream of its own, and MaxState in a
	// push/pull. The pool ends its messages at 256 KiB, and at one observation beyond them.
	MaxMessage = 1 << 20
	MaxState   = 64 << 10

	minNode  = 42      // bytes: the names of a member's fields alone
	maxNode  = 4 << 10 // bytes of what is said of a member
	maxSmall = 4 << 10 // bytes of any other message
)

// Why something is refused. All of them are of the sender's making.
var (
	ErrCompressed = errors.New("it is compressed, which members never do")
	ErrTooLong    = errors.New("it is longer than anything that members say")
	ErrMalformed  = errors.New("it is no message of memberlist's")
	ErrRunAway    = errors.New("it says that a member has refuted its death more often than it can have")
)

// Rules are what the members of a mesh agree on.
type Rules struct {
	Label string
	Keys  *Keys

	// Claim returns why what is said of a member is refused. Nil: nothing is.
	Claim func(Claim) error
}

// Claim is what somebody says of a member, in memberlist's words, which nobody signs.
type Claim struct {
	Node        string
	Incarnation int64
	Alive       bool // else it is suspected, or dead
}

// claimed judges a claim.
func (r Rules) claimed(h header, alive bool) error {
	if r.Claim == nil {
		return nil
	}
	return r.Claim(Claim{h.node, h.incarnation, alive})
}

// labelled returns what follows the label. ok is false where the label is not ours: memberlist goes
// no further then.
func (r Rules) labelled(b []byte) (rest []byte, ok bool) {
	if len(b) < 2 || b[0] != LabelByte || len(b) < 2+int(b[1]) || string(b[2:2+int(b[1])]) != r.Label {
		return nil, false
	}
	return b[2+len(r.Label):], true
}

// Packet returns why a packet is refused, and how often it asks for others to be pinged. message is
// the pool's, in memory of its own, where the packet has one and nothing else: memberlist would
// open it once more, only to hand it on.
func (r Rules) Packet(b []byte) (message []byte, relays int, err error) {
	if len(b) > MaxPacket {
		return nil, 0, ErrTooLong
	}
	b, ok := r.labelled(b)
	if !ok {
		return nil, 0, nil
	}
	keys := r.Keys.sealers()
	if len(keys) > 0 {
		if b, err = open(keys, b, []byte(r.Label)); b == nil {
			return nil, 0, err
		}
	}
	if len(b) > 0 && b[0] == typeUser {
		if len(keys) == 0 {
			b = bytes.Clone(b)
		}
		return b[1:], 0, nil
	}
	if len(b) >= 5 && b[0] == typeCRC {
		b = b[5:]
	}
	relays, err = r.command(b)
	return nil, relays, err
}

// Message returns the packet that has one message of the pool's and nothing else.
func (r Rules) Message(message []byte) []byte {
	b := make([]byte, 0, 2+len(r.Label)+1+nonceSize+1+len(message)+tagSize)
	b = append(append(b, LabelByte, byte(len(r.Label))), r.Label...)
	keys := r.Keys.sealers()
	if len(keys) == 0 {
		return append(append(b, typeUser), message...)
	}
	return keys[0].seal(b, append([]byte{typeUser}, message...), []byte(r.Label))
}

// command looks into a message of a packet. Each step inwards makes it shorter.
func (r Rules) command(b []byte) (relays int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	switch b[0] {
	case typeCompress:
		return 0, ErrCompressed
	case typeIndirectPing:
		return 1, nil
	case typeSuspect, typeAlive, typeDead:
		h, n, err := readMap(b[1:], maxNode)
		if err == nil && n == 0 {
			err = ErrMalformed
		}
		if err != nil {
			return 0, err
		}
		return 0, r.claimed(h, b[0] == typeAlive)
	case typeCompound:
	default:
		return 0, nil
	}
	if len(b) < 2 || len(b) < 2+2*int(b[1]) {
		return 0, nil
	}
	lengths, parts := b[2:2+2*int(b[1])], b[2+2*int(b[1]):]
	for ; len(lengths) > 0; lengths = lengths[2:] {
		n := int(binary.BigEndian.Uint16(lengths))
		if n > len(parts) {
			break // memberlist drops the rest
		}
		more, err := r.command(parts[:n])
		if err != nil {
			return 0, err
		}
		relays += more
		parts = parts[n:]
	}
	return relays, nil
}
