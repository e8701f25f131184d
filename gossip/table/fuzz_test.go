package table_test

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/dynmesh/dynmesh"
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
	f.Add(message[:40], []byte{table.Version, 1})
	o, s := dynmesh.Observer{ID: 7, Epoch: 1}, dynmesh.Subject{ID: 7}
	said := table.Pack([]table.Entry{table.Crafted(o, 0, s, 1, []byte{0x18, 1})}, table.MaxPacket)[0]
	f.Add(said, table.Pack([]table.Entry{table.Crafted(o, 9, s, 1, []byte{0x18, 1})}, table.MaxPacket)[0])
	newTable := func(self dynmesh.Observer) *table.Table {
		return table.New(self, table.LooseKeys{TestKeys: table.TestKeys(self.ID)})
	}
	f.Fuzz(func(t *testing.T, x, y []byte) {
		tb, relay := newTable(reader), newTable(reader)
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
		if !equal(tb, relay) || !equal(tb, mergedInto(t, newTable(reader), everything(tb))) {
			t.Fatalf("a relay holds %v, the table %v", standing(relay), standing(tb))
		}
		other := newTable(reader)
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
		mustMerge(t, newTable(reader), answer...)
		if d, err := table.ParseDigest(message); err == nil {
			if again, err := table.ParseDigest(d.Message()); err != nil || again != d {
				t.Fatalf("a digest did not survive: %v", err)
			}
		} else if !known(err) {
			t.Fatal(err)
		}
	})
}
