package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// What is encrypted is judged as it would be in plain, and nothing that a key opens is let through
// that memberlist would read beyond.
func FuzzSealed(f *testing.F) {
	key := make([]byte, 32)
	keyed := Rules{Label: label, Keys: NewKeys(func() [][]byte { return [][]byte{slices.Repeat([]byte{1}, 32), key} })}
	f.Add([]byte{})
	f.Add([]byte{typeCompress, 0x80})
	f.Add(compound([]byte{typeIndirectPing, 0x80}, []byte{typeUser, 1}, compound([]byte{typeCompress})))
	f.Add(append([]byte{typeCRC, 1, 2, 3, 4, typeCompound, 2, 0, 1, 0, 1, typeIndirectPing, typeIndirectPing}, "rest"...))
	f.Add(pushPull(2, 3, node("a"), node("b"), []byte("abc")))
	f.Add(append([]byte{typeUser}, append(document(text("UserMsgLen"), number(3)), "abc"...)...))
	f.Fuzz(func(t *testing.T, plain []byte) {
		packet := labelled(sealed(t, key, 1, plain, []byte(label)))
		message, relays, err := keyed.Packet(packet)
		wantMessage, wantRelays, want := plainRules.Packet(labelled(plain))
		switch {
		case len(packet) > MaxPacket:
			wantMessage, wantRelays, want = nil, 0, ErrTooLong
		case len(plain) == 0:
			wantMessage, wantRelays, want = nil, 0, ErrMalformed
		}
		if relays != wantRelays || !errors.Is(err, want) || !bytes.Equal(message, wantMessage) || (message == nil) != (wantMessage == nil) {
			t.Errorf("a packet: %x, %d requests to ping and %v, in plain %x, %d and %v", message, relays, err, wantMessage, wantRelays, want)
		}

		head := binary.BigEndian.AppendUint32([]byte{typeEncrypt}, uint32(1+12+len(plain)+16))
		stream := labelled(head, sealed(t, key, 1, plain, append(slices.Clone(head), label...)))
		s := keyed.Stream(false)
		if n, err := s.Len(stream); n != len(stream) || err != nil {
			t.Fatalf("a stream of %d bytes: %d and %v", len(stream), n, err)
		}
		err = s.Verify(stream)
		// In plain it is whole where its end is known and has come, or where memberlist refuses its type.
		n, want := plainRules.Stream(false).Len(labelled(plain))
		whole := want == nil && (n == len(labelled(plain)) || len(plain) > 0 && plain[0] != typeEncrypt && !known(plain[0]))
		if len(plain) > 0 && plain[0] == typeEncrypt {
			whole = true // one within another has no type that memberlist takes from a stream
		}
		if (err == nil) != (whole && len(plain) > 0) {
			t.Errorf("a stream: %v; in plain %d of %d bytes, %v", err, n, len(labelled(plain)), want)
		}
	})
}
