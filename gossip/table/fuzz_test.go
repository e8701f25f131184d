package table_test

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/dynmesh/dynmesh/gossip/table"
)

func known(err error) bool {
	return errors.Is(err, table.ErrMalformed) || errors.Is(err, table.ErrVersion) || errors.Is(err, table.ErrType)
}

// Whatever comes: it has an effect or an error, the effect can be passed on, and who gets that
// holds the same.
func FuzzMerge(f *testing.F) {
	message, err := hex.DecodeString(golden)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(message, message)
	f.Add(message[:40], []byte{1, 1})
	f.Add([]byte("\x01\x01\x12\x0d\x09\x07\x00\x00\x00\x00\x00\x00\x00\x22\x02\x18\x01"), []byte("\x01\x01\x12\x0f\x09\x07\x00\x00\x00\x00\x00\x00\x00\x18\x09\x22\x02\x18\x01"))
	f.Fuzz(func(t *testing.T, x, y []byte) {
		tb, relay := table.New(reader), table.New(reader)
		for _, m := range [][]byte{x, y} {
			before := tb.Digest()
			c, err := tb.Merge(m)
			if err != nil && (!known(err) || tb.Digest() != before) {
				t.Fatalf("error %v, with an effect: %v", err, tb.Digest() != before)
			}
			var d table.BroadcastQueue
			d.Add(c.Entries...)
			for d.Len() > 0 {
				mustMerge(t, relay, d.Packet(0, 1200, 2)...)
				mustMerge(t, relay, d.Oversized()...)
			}
		}
		if !equal(tb, relay) || !equal(tb, merged(t, everything(tb))) {
			t.Fatalf("a relay holds %v, the table %v", standing(relay), standing(tb))
		}
		other := table.New(reader)
		for _, m := range [][]byte{y, x} {
			if _, err := other.Merge(m); err != nil && !known(err) {
				t.Fatal(err)
			}
		}
		if !equal(tb, other) {
			t.Fatalf("in another order: %v, not %v", standing(other), standing(tb))
		}
		if d, s, ok := tb.Counted(); d != tb.Digest() || s != tb.Stats() || !ok {
			t.Fatalf("digest or stats %+v are not those of what is held: %+v", tb.Stats(), s)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	tb := goldenTable(f)
	f.Add(tb.Have([]int{8, 205})[0])
	f.Add(tb.Digest().Message())
	f.Fuzz(func(t *testing.T, message []byte) {
		answer, err := tb.Missing(message)
		if err != nil && !known(err) {
			t.Fatal(err)
		}
		mustMerge(t, table.New(reader), answer...)
		if d, err := table.ParseDigest(message); err == nil {
			if again, err := table.ParseDigest(d.Message()); err != nil || again != d {
				t.Fatalf("a digest did not survive: %v", err)
			}
		} else if !known(err) {
			t.Fatal(err)
		}
	})
}
