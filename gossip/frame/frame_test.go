package frame

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

const label = "dynmesh"

var plainRules = Rules{Label: label}

func labelled(parts ...[]byte) []byte {
	return slices.Concat(append([][]byte{{LabelByte, byte(len(label))}, []byte(label)}, parts...)...)
}

// text, number and document write MessagePack as memberlist does.
func text(s string) []byte {
	switch {
	case len(s) < 32:
		return append([]byte{0xa0 | byte(len(s))}, s...)
	default:
		return append(binary.BigEndian.AppendUint16([]byte{0xda}, uint16(len(s))), s...)
	}
}

func number(n int64) []byte { return binary.BigEndian.AppendUint64([]byte{0xd3}, uint64(n)) }

func document(fields ...[]byte) []byte {
	return slices.Concat(append([][]byte{{0x80 | byte(len(fields)/2)}}, fields...)...)
}

func node(name string) []byte {
	return document(text("Name"), text(name), text("Addr"), text("\x0a\x00\x00\x01"), text("Port"), number(7946),
		text("Meta"), text("role"), text("Incarnation"), number(1), text("State"), number(0), text("Vsn"), text("\x01\x05\x02\x01\x01\x01"))
}

func pushPull(nodes int64, state int, said ...[]byte) []byte {
	header := document(text("Nodes"), number(nodes), text("UserStateLen"), number(int64(state)), text("Join"), []byte{0xc3})
	return slices.Concat(append([][]byte{{typePushPull}, header}, said...)...)
}

func compound(parts ...[]byte) []byte {
	b := []byte{typeCompound, byte(len(parts))}
	for _, p := range parts {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
	}
	return slices.Concat(append([][]byte{b}, parts...)...)
}

func TestPackets(t *testing.T) {
	compressed, relay, user := []byte{typeCompress, 1, 2, 3}, []byte{typeIndirectPing, 0x80}, []byte{typeUser, 1}
	for name, tt := range map[string]struct {
		b       []byte
		message []byte
		relays  int
		err     error
	}{
		"nothing":                       {b: nil},
		"another label":                 {b: append([]byte{LabelByte, 1, 'x'}, compressed...)},
		"half a label":                  {b: []byte{LabelByte, 200, 'x'}},
		"a message":                     {b: labelled(user), message: []byte{1}},
		"a message of nothing":          {b: labelled([]byte{typeUser}), message: []byte{}},
		"a message among others":        {b: labelled(compound(user))},
		"a message, with a checksum":    {b: labelled([]byte{typeCRC, 1, 2, 3, 4}, user)},
		"another label's message":       {b: append([]byte{LabelByte, 1, 'x'}, user...)},
		"compressed":                    {b: labelled(compressed), err: ErrCompressed},
		"compressed, with a checksum":   {b: labelled([]byte{typeCRC, 1, 2, 3, 4}, compressed), err: ErrCompressed},
		"compressed, among others":      {b: labelled(compound(user, compressed)), err: ErrCompressed},
		"compressed, among others' own": {b: labelled(compound(user, compound(user, compressed))), err: ErrCompressed},
		"requests to ping":              {b: labelled(compound(relay, user, compound(relay, relay))), relays: 3},
		"parts that are not there":      {b: labelled(compound(relay, relay)[:8]), relays: 1},
		"lengths that are not there":    {b: labelled([]byte{typeCompound, 255, 0})},
		"the longest":                   {b: labelled(user, make([]byte, MaxPacket-11)), message: append([]byte{1}, make([]byte, MaxPacket-11)...)},
		"a longer one":                  {b: labelled(user, make([]byte, MaxPacket-10)), err: ErrTooLong},
	} {
		message, relays, err := plainRules.Packet(tt.b)
		if relays != tt.relays || !errors.Is(err, tt.err) || tt.err == nil && err != nil {
			t.Errorf("%s: %d requests to ping and %v, want %d and %v", name, relays, err, tt.relays, tt.err)
		}
		if !bytes.Equal(message, tt.message) || (message == nil) != (tt.message == nil) {
			t.Errorf("%s: message %v, want %v", name, message, tt.message)
		}
	}
}

// What is announced is believed only when it has come, however it is cut into pieces.
func TestStreams(t *testing.T) {
	long := strings.Repeat("x", 5000)
	user := func(n int64) []byte { return append([]byte{typeUser}, document(text("UserMsgLen"), number(n))...) }
	for name, tt := range map[string]struct {
		b   []byte
		err error
	}{
		"a push/pull":                       {b: labelled(pushPull(2, 3, node("a"), node("b"), []byte("abc")))},
		"of nobody":                         {b: labelled(pushPull(0, 0))},
		"of a million":                      {b: labelled(pushPull(1<<20, 0)), err: ErrTooLong},
		"of fewer than none":                {b: labelled(pushPull(-1, 0)), err: ErrMalformed},
		"with a state of 20 MiB":            {b: labelled(pushPull(0, 20<<20)), err: ErrTooLong},
		"of empty members":                  {b: labelled(pushPull(2, 0, []byte{0x80, 0x80})), err: ErrMalformed},
		"of lists":                          {b: labelled(pushPull(2, 0, []byte{0x97, 1, 2, 3, 4, 5, 6, 7})), err: ErrMalformed},
		"of a list of lists":                {b: labelled(pushPull(1, 0, document(text("Name"), []byte{0x91, 0x91, 0x91}))), err: ErrMalformed},
		"of one with a name without end":    {b: labelled(pushPull(1, 0, document(text("Name"), []byte{0xdb, 0xff, 0xff, 0xff, 0xff}), []byte(long))), err: ErrTooLong},
		"of one with a long name":           {b: labelled(pushPull(1, 0, node(long))), err: ErrTooLong},
		"announced twice":                   {b: labelled([]byte{typePushPull}, document(text("Nodes"), number(1), text("Nodes"), number(1<<20))), err: ErrMalformed},
		"announced as a text":               {b: labelled([]byte{typePushPull}, document(text("Nodes"), text("1"))), err: ErrMalformed},
		"announced as a fraction":           {b: labelled([]byte{typePushPull}, document(text("Nodes"), []byte{0xca, 0x49, 0x80, 0, 0})), err: ErrMalformed},
		"announced beyond all numbers":      {b: labelled([]byte{typePushPull}, document(text("Nodes"), append([]byte{0xcf}, "\xff\xff\xff\xff\xff\xff\xff\xff"...))), err: ErrMalformed},
		"a message":                         {b: labelled(user(3), []byte("abc"))},
		"a message of 20 MiB":               {b: labelled(user(20 << 20)), err: ErrTooLong},
		"a ping":                            {b: labelled([]byte{typePing}, document(text("SeqNo"), number(1), text("Node"), text("a")))},
		"an error":                          {b: labelled([]byte{typeError}, document(text("Error"), text("no")))},
		"an error without end":              {b: labelled([]byte{typeError}, document(text("Error"), []byte{0xdb, 0x7f, 0xff, 0xff, 0xff}), []byte(long)), err: ErrTooLong},
		"compressed":                        {b: labelled([]byte{typeCompress}), err: ErrCompressed},
		"of a type that memberlist refuses": {b: labelled([]byte{99})},
		"encrypted, where nothing is":       {b: labelled([]byte{typeEncrypt})},
		"of another label":                  {b: []byte{LabelByte, 1, 'x'}},
		"of no label":                       {b: []byte{LabelByte, 0}},
	} {
		for how, step := range map[string]int{"at once": len(tt.b), "byte by byte": 1} {
			s := plainRules.Stream(false)
			var n int
			var err error
			for end := step; err == nil && n == 0 && end <= len(tt.b); end += step {
				n, err = s.Len(tt.b[:end])
			}
			if !errors.Is(err, tt.err) || tt.err == nil && (err != nil || n != len(tt.b)) {
				t.Errorf("%s, %s: %d bytes and %v, want %d and %v", name, how, n, err, len(tt.b), tt.err)
			}
		}
	}
}

// Nothing that comes makes Len announce more than may come, or read beyond what has.
func FuzzStream(f *testing.F) {
	f.Add(labelled(pushPull(2, 3, node("a"), node("b"), []byte("abc"))))
	f.Add(labelled([]byte{typeUser}, document(text("UserMsgLen"), number(3)), []byte("abc")))
	f.Add(labelled([]byte{typeEncrypt, 0, 0, 1, 0, 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, keys := range []*Keys{nil, NewKeys(func() [][]byte { return [][]byte{make([]byte, 32)} })} {
			rules := Rules{Label: label, Keys: keys}
			whole := rules.Stream(false)
			n, err := whole.Len(b)
			s := rules.Stream(false)
			var stepped int
			var steppedErr error
			for end := 1; stepped == 0 && steppedErr == nil && end <= len(b); end++ {
				stepped, steppedErr = s.Len(b[:end])
			}
			if n > MaxStream+5+257 || n != stepped || (err == nil) != (steppedErr == nil) {
				t.Errorf("at once %d, %v; byte by byte %d, %v", n, err, stepped, steppedErr)
			}
			if n > 0 && n <= len(b) {
				_ = whole.Verify(b[:n])
			}
			_, _, _ = rules.Packet(b)
		}
	})
}

// sealed encrypts as memberlist does.
func sealed(t *testing.T, key []byte, version byte, plain, with []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, 12)
	return gcm.Seal(slices.Concat([]byte{version}, nonce), nonce, plain, with)
}

// Whoever has a key can end no member with it, nor go around what is looked at.
func TestEncryptedAsMembersNeverDo(t *testing.T) {
	key, other := make([]byte, 32), slices.Repeat([]byte{1}, 32)
	rules := Rules{Label: label, Keys: NewKeys(func() [][]byte { return [][]byte{key} })}
	for name, tt := range map[string]struct {
		key     []byte
		version byte
		plain   []byte
		err     error
	}{
		"as they do":                    {key, 1, []byte{typeError, 0x80}, nil},
		"nothing":                       {key, 1, nil, ErrMalformed},
		"in the version before":         {key, 0, append([]byte{typeError, 0x80}, slices.Repeat([]byte{14}, 14)...), ErrMalformed},
		"compressed":                    {key, 1, []byte{typeCompress, 0x80}, ErrCompressed},
		"nothing, with another key":     {other, 1, nil, nil}, // memberlist says so
		"in a version of times to come": {key, 2, nil, nil},
	} {
		if _, _, err := rules.Packet(labelled(sealed(t, tt.key, tt.version, tt.plain, []byte(label)))); !errors.Is(err, tt.err) {
			t.Errorf("a packet, %s: %v, want %v", name, err, tt.err)
		}
		n := 1 + 12 + len(tt.plain) + 16
		head := binary.BigEndian.AppendUint32([]byte{typeEncrypt}, uint32(n))
		b := labelled(head, sealed(t, tt.key, tt.version, tt.plain, append(slices.Clone(head), label...)))
		s := rules.Stream(false)
		if got, err := s.Len(b); got != len(b) || err != nil {
			t.Errorf("a stream, %s: %d bytes and %v, want %d", name, got, err, len(b))
		}
		if err := s.Verify(b); !errors.Is(err, tt.err) {
			t.Errorf("a stream, %s: %v, want %v", name, err, tt.err)
		}
	}
}

func BenchmarkPacket(b *testing.B) {
	key := make([]byte, 32)
	rules := Rules{Label: label, Keys: NewKeys(func() [][]byte { return [][]byte{key} })}
	packet := labelled([]byte{1}, make([]byte, 1000))
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range packet[10:] {
		packet[10+i] = byte(rng.Uint32())
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := rules.Packet(packet); err != nil {
			b.Fatal(err)
		}
	}
}

// A message arrives as it was, with the keys that there are at that moment and with no others.
func TestMessage(t *testing.T) {
	key, other := make([]byte, 32), slices.Repeat([]byte{1}, 16)
	keys := [][]byte{key}
	ours := Rules{Label: label, Keys: NewKeys(func() [][]byte { return keys })}
	theirs := func(keys ...[]byte) Rules { return Rules{Label: label, Keys: NewKeys(func() [][]byte { return keys })} }
	opens := func(by Rules, want bool) {
		t.Helper()
		packet := ours.Message([]byte("hello"))
		message, _, err := by.Packet(packet)
		if got := string(message) == "hello"; got != want || err != nil {
			t.Errorf("got %q and %v, want it opened: %v", message, err, want)
		}
		clear(packet) // the reader's buffer is the next packet's
		if want && string(message) != "hello" {
			t.Errorf("the message is in the packet's memory: %q", message)
		}
	}
	opens(ours, true)
	opens(theirs(other, key), true)
	opens(theirs(other), false)
	opens(Rules{Label: "another", Keys: theirs(key).Keys}, false)
	keys = [][]byte{other, key}
	opens(theirs(other), true)
	opens(theirs(key), false)
	keys = [][]byte{other}
	opens(ours, true)
	if message, _, _ := ours.Packet(theirs(key).Message([]byte("hello"))); message != nil {
		t.Errorf("a key that was removed opens %q", message)
	}
	if a, b := ours.Message(nil), ours.Message(nil); bytes.Equal(a, b) {
		t.Error("two packets have one nonce")
	}
	ours = plainRules
	opens(ours, true)
}

func BenchmarkMessage(b *testing.B) {
	key := make([]byte, 32)
	rules := Rules{Label: label, Keys: NewKeys(func() [][]byte { return [][]byte{key} })}
	message := make([]byte, 50) // as long as a ping
	b.ReportAllocs()
	for b.Loop() {
		if got, _, err := rules.Packet(rules.Message(message)); err != nil || len(got) != len(message) {
			b.Fatal(got, err)
		}
	}
}
