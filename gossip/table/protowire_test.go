package table

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"
)

func TestHashIsXXH64(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes")
		if got, want := xxh64(b), xxhash.Sum64(b); got != want {
			t.Fatalf("hash of %x: got %x, want %x", b, got, want)
		}
	})
}

// protowireFields is what the library reads: one line a field.
func protowireFields(b []byte) (fields []string, err error) {
	for len(b) > 0 {
		number, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		size := protowire.ConsumeFieldValue(number, typ, b[n:])
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		var value uint64
		var content []byte
		switch typ {
		case protowire.VarintType:
			value, _ = protowire.ConsumeVarint(b[n:])
		case protowire.Fixed64Type:
			value, _ = protowire.ConsumeFixed64(b[n:])
		case protowire.Fixed32Type:
			v, _ := protowire.ConsumeFixed32(b[n:])
			value = uint64(v)
		case protowire.BytesType:
			content, _ = protowire.ConsumeBytes(b[n:])
		}
		fields = append(fields, fmt.Sprintf("%d %d %d %x %x", number, typ, value, content, b[:n+size]))
		b = b[n+size:]
	}
	return fields, nil
}

func ownFields(b []byte) (fields []string, err error) {
	err = eachField(b, func(f field) error {
		fields = append(fields, fmt.Sprintf("%d %d %d %x %x", f.number, f.typ, f.value, f.bytes, f.raw))
		return nil
	})
	return fields, err
}

// Groups are the one thing that the library reads and version 1 has not.
func hasGroup(b []byte) bool {
	for len(b) > 0 {
		number, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		if typ == protowire.StartGroupType {
			return true
		}
		if b = b[n:]; protowire.ConsumeFieldValue(number, typ, b) < 0 {
			return false
		}
		b = b[protowire.ConsumeFieldValue(number, typ, b):]
	}
	return false
}

func FuzzFields(f *testing.F) {
	f.Add([]byte{})
	f.Add(protowire.AppendFixed32(protowire.AppendTag(nil, 9, protowire.Fixed32Type), 7))
	f.Add(protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), 7))
	f.Add(protowire.AppendString(protowire.AppendTag(nil, 1<<29-1, protowire.BytesType), "text"))
	f.Add(bytes.Repeat([]byte{0xff}, 12))
	f.Add([]byte{0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02})
	f.Fuzz(func(t *testing.T, b []byte) {
		if hasGroup(b) {
			return
		}
		want, wantErr := protowireFields(b)
		got, err := ownFields(b)
		if (err != nil) != (wantErr != nil) || wantErr == nil && fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%x: got %v, %v; protowire has %v, %v", b, got, err, want, wantErr)
		}
	})
}

func TestFieldsAreWrittenAsProtowireDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Uint32Range(1, 1<<29-1).Draw(t, "number")
		value := rapid.Uint64().Draw(t, "value")
		content := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "content")
		library := protowire.Number(number)
		for name, pair := range map[string][2][]byte{
			"varint": {appendVarint(nil, number, value),
				protowire.AppendVarint(protowire.AppendTag(nil, library, protowire.VarintType), value)},
			"fixed64": {appendFixed64(nil, number, value),
				protowire.AppendFixed64(protowire.AppendTag(nil, library, protowire.Fixed64Type), value)},
			"bytes": {appendBytes(nil, number, content),
				protowire.AppendBytes(protowire.AppendTag(nil, library, protowire.BytesType), content)},
		} {
			if !bytes.Equal(pair[0], pair[1]) {
				t.Fatalf("%s: got %x, want %x", name, pair[0], pair[1])
			}
		}
		if got, want := sizeVarint(value), protowire.SizeVarint(value); got != want {
			t.Fatalf("size of %d: got %d, want %d", value, got, want)
		}
	})
}
