package frame

import (
	"encoding/binary"
	"slices"
)

// Stream finds the end of the one message that a stream carries in each direction. Make a new one
// for each message.
type Stream struct {
	rules  Rules
	answer bool
	body   body
}

// Stream returns the reader of a message. Answers to what this member has sent have no label.
func (r Rules) Stream(answer bool) *Stream {
	return &Stream{rules: r, answer: answer, body: body{rules: r}}
}

// Len returns how many bytes the message has that begins with b, as soon as that is known, 0
// before, or why it is refused. b must be what it was the time before, and more. What memberlist is
// to refuse ends where memberlist knows enough.
func (s *Stream) Len(b []byte) (int, error) {
	start := 0
	if !s.answer {
		switch {
		case len(b) < 2:
			return 0, nil
		case b[1] == 0:
			return 2, nil
		case len(b) < 2+int(b[1]):
			return 0, nil
		}
		start = 2 + int(b[1])
		if _, ok := s.rules.labelled(b); !ok {
			return start, nil
		}
	}
	b = b[start:]
	if len(b) == 0 {
		return 0, nil
	}
	keyed := len(s.rules.Keys.sealers()) > 0
	switch {
	case keyed != (b[0] == typeEncrypt):
		return start + 1, nil
	case !keyed:
		n, err := s.body.len(b)
		if n > 0 {
			n += start
		}
		return n, err
	case len(b) < 5:
		return 0, nil
	}
	n := binary.BigEndian.Uint32(b[1:])
	if n > MaxStream {
		return 0, ErrTooLong
	}
	return start + 5 + int(n), nil
}

// Verify returns why a whole message is refused, of which Len has told the length.
func (s *Stream) Verify(b []byte) error {
	if !s.answer {
		var ok bool
		if b, ok = s.rules.labelled(b); !ok {
			return nil
		}
	}
	keys := s.rules.Keys.sealers()
	if len(keys) == 0 || len(b) < 5 || b[0] != typeEncrypt {
		return nil // Len has looked into it, or memberlist refuses it
	}
	plain, err := open(keys, b[5:], slices.Concat(b[:5], []byte(s.rules.Label)))
	if plain == nil {
		return err
	}
	n, err := (&body{rules: s.rules}).len(plain)
	if err == nil && n != len(plain) && (n != 1 || known(plain[0])) {
		err = ErrMalformed
	}
	return err
}

// known says whether streams have messages of the type.
func known(typ byte) bool {
	return slices.Contains([]byte{typePing, typeAck, typePushPull, typeUser, typeError}, typ)
}

// body is a message without label and encryption, as far as it has been read.
type body struct {
	rules  Rules
	at     int  // so many bytes have been read
	begun  bool // the header has been read
	nodes  int  // that are to come
	behind int  // bytes after them
}

// len is [Stream.Len].
func (m *body) len(b []byte) (int, error) {
	if !known(b[0]) {
		if b[0] == typeCompress {
			return 0, ErrCompressed
		}
		return 1, nil
	}
	if !m.begun {
		h, n, err := readMap(b[1:], maxSmall)
		if n == 0 || err != nil {
			return 0, err
		}
		if err := m.header(b[0], h); err != nil {
			return 0, err
		}
		m.begun, m.at = true, 1+n
	}
	for m.nodes > 0 {
		h, n, err := readMap(b[m.at:], maxNode)
		if n == 0 || err != nil {
			return 0, err
		}
		if n < minNode {
			return 0, ErrMalformed
		}
		if err := m.rules.claimed(h, h.status == 0); err != nil {
			return 0, err
		}
		m.at += n
		m.nodes--
	}
	return m.at + m.behind, nil
}

// header takes in what the first document of a message announces.
func (m *body) header(typ byte, h header) error {
	switch typ {
	case typePushPull:
		if h.nodes < 0 || h.state < 0 {
			return ErrMalformed
		}
		if h.nodes > MaxNodes || h.state > MaxState {
			return ErrTooLong
		}
		m.nodes, m.behind = int(h.nodes), int(h.state)
	case typeUser:
		if h.message < 0 {
			return ErrMalformed
		}
		if h.message > MaxMessage {
			return ErrTooLong
		}
		m.behind = int(h.message)
	}
	return nil
}
