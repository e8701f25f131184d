package frame

import "encoding/binary"

// header is what counts of a document; 0 where it is not there.
type header struct {
	nodes, state, message int64  // that are announced
	incarnation, status   int64  // of a member
	node                  string // its name
}

// readMap reads a document of memberlist's: a map of names to numbers, texts and truths, never to
// further maps or lists. n is how many bytes it has, and 0 where b ends before it does, which is
// refused where b has more than most bytes. An announcement that is made twice is refused: which of
// them counts is the reader's choice.
func readMap(b []byte, most int) (h header, n int, err error) {
	if len(b) == 0 {
		return h, 0, nil
	}
	if b[0]&0xf0 != 0x80 { // maps of up to 15 fields
		return h, 0, ErrMalformed
	}
	rest := b[1:]
	short := func() (header, int, error) {
		if len(b) > most {
			return h, 0, ErrTooLong
		}
		return h, 0, nil
	}
	for range b[0] & 0x0f {
		name, size, err := readScalar(rest)
		if err != nil {
			return h, 0, err
		}
		if size == 0 {
			return short()
		}
		if name.text == nil {
			return h, 0, ErrMalformed
		}
		rest = rest[size:]
		value, size, err := readScalar(rest)
		if err != nil {
			return h, 0, err
		}
		if size == 0 {
			return short()
		}
		rest = rest[size:]
		if key := string(name.text); key == "Node" || key == "Name" {
			if value.text == nil || h.node != "" {
				return h, 0, ErrMalformed
			}
			h.node = string(value.text)
		} else if announced := h.field(key); announced != nil {
			if value.text != nil || !value.whole || *announced != 0 {
				return h, 0, ErrMalformed
			}
			*announced = value.number
		}
	}
	if n = len(b) - len(rest); n > most {
		return h, 0, ErrTooLong
	}
	return h, n, nil
}

// field is where a number of that name stands; nil: it does not count.
func (h *header) field(name string) *int64 {
	switch name {
	case "Nodes":
		return &h.nodes
	case "UserStateLen":
		return &h.state
	case "UserMsgLen":
		return &h.message
	case "Incarnation":
		return &h.incarnation
	case "State":
		return &h.status
	}
	return nil
}

// scalar is a number or a text.
type scalar struct {
	text   []byte // nil: it is none
	number int64
	whole  bool // it is a whole number
}

// readScalar reads a value of MessagePack that has no others inside. size is 0 where b ends before
// it does.
func readScalar(b []byte) (s scalar, size int, err error) {
	if len(b) == 0 {
		return s, 0, nil
	}
	text := func(head int, n uint64) (scalar, int, error) {
		if n > uint64(len(b)-head) {
			return s, 0, nil
		}
		return scalar{text: b[head : head+int(n) : head+int(n)]}, head + int(n), nil
	}
	number := func(width int, signed bool) (scalar, int, error) {
		if len(b) < 1+width {
			return s, 0, nil
		}
		v := bigEndian(b[1 : 1+width])
		if signed {
			shift := 64 - 8*width
			return scalar{number: int64(v<<shift) >> shift, whole: true}, 1 + width, nil
		}
		if int64(v) < 0 {
			return s, 0, ErrMalformed
		}
		return scalar{number: int64(v), whole: true}, 1 + width, nil
	}
	head := func(width int) (n uint64, ok bool) {
		if len(b) < 1+width {
			return 0, false
		}
		return bigEndian(b[1 : 1+width]), true
	}
	switch c := b[0]; {
	case c < 0x80: // a small number
		return scalar{number: int64(c), whole: true}, 1, nil
	case c >= 0xe0: // a small negative one
		return scalar{number: int64(int8(c)), whole: true}, 1, nil
	case c&0xe0 == 0xa0: // a short text
		return text(1, uint64(c&0x1f))
	case c == 0xc0, c == 0xc2, c == 0xc3: // nil, false, true
		return s, 1, nil
	case c == 0xca || c == 0xcb: // with a fraction
		width := 4 << (c - 0xca)
		if len(b) < 1+width {
			return s, 0, nil
		}
		return s, 1 + width, nil
	case c >= 0xcc && c <= 0xcf:
		return number(1<<(c-0xcc), false)
	case c >= 0xd0 && c <= 0xd3:
		return number(1<<(c-0xd0), true)
	case c >= 0xc4 && c <= 0xc6, c >= 0xd9 && c <= 0xdb: // bytes, and texts
		width := 1 << (c - 0xc4)
		if c >= 0xd9 {
			width = 1 << (c - 0xd9)
		}
		n, ok := head(width)
		if !ok {
			return s, 0, nil
		}
		return text(1+width, n)
	}
	return s, 0, ErrMalformed
}

func bigEndian(b []byte) uint64 {
	var whole [8]byte
	copy(whole[8-len(b):], b)
	return binary.BigEndian.Uint64(whole[:])
}
