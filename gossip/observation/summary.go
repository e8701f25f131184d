package observation

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynmesh/dynmesh"
)

// Summary returns, in messages, what this table holds in buckets in which another table differs: 16 bytes for each observer.
// The other's [Table.Answer] is what this table lacks.
func (t *Table) Summary(buckets []int) [][]byte {
	var all [][]byte
	var message []byte
	for _, i := range buckets {
		held := t.buckets[i]
		body := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(i))
		body = protowire.AppendTag(body, 2, protowire.BytesType)
		body = protowire.AppendVarint(body, uint64(16*len(held)))
		for _, l := range held {
			body = protowire.AppendFixed64(body, uint64(l.ID))
			body = protowire.AppendFixed64(body, l.digest)
		}
		if message != nil && len(message)+1+lenSize+len(body) > MaxBatch {
			all = append(all, message)
			message = nil
		}
		if message == nil {
			message = []byte{Version, TypeSummary}
		}
		message = protowire.AppendTag(message, 1, protowire.BytesType)
		message = protowire.AppendBytes(message, body)
	}
	if message != nil {
		all = append(all, message)
	}
	return all
}

// Answer returns, in messages for a reliable transport, all that this table holds of those observers of whom the summary's
// sender holds something else, or nothing. Its errors are those of [Table.Merge].
func (t *Table) Answer(summary []byte) ([][]byte, error) {
	body, err := open(summary, TypeSummary)
	if err != nil {
		return nil, err
	}
	asked := map[int]map[dynmesh.InstanceID]uint64{}
	err = EachField(body, func(num protowire.Number, typ protowire.Type, v []byte, _ uint64) error {
		if num != 1 || typ != protowire.BytesType {
			return nil
		}
		i, theirs, err := parseBucket(v)
		asked[i] = theirs
		return err
	})
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for i := range Buckets {
		theirs, ok := asked[i]
		if !ok {
			continue
		}
		for _, l := range t.livesOf(i) {
			if hash, ok := theirs[l.ID]; !ok || hash != l.digest {
				entries = l.appendAll(entries)
			}
		}
	}
	return messages(entries, MaxBatch), nil
}

func parseBucket(b []byte) (index int, lives map[dynmesh.InstanceID]uint64, err error) {
	lives = map[dynmesh.InstanceID]uint64{}
	err = EachField(b, func(num protowire.Number, typ protowire.Type, v []byte, n uint64) error {
		switch {
		case num == 1 && typ == protowire.VarintType:
			if n >= Buckets {
				return badf("bucket %d", n)
			}
			index = int(n)
		case num == 2 && typ == protowire.BytesType:
			if len(v)%16 != 0 {
				return badf("bucket of %d bytes", len(v))
			}
			for ; len(v) > 0; v = v[16:] {
				lives[dynmesh.InstanceID(binary.LittleEndian.Uint64(v))] = binary.LittleEndian.Uint64(v[8:])
			}
		}
		return nil
	})
	return index, lives, err
}
