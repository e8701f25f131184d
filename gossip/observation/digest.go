package observation

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynmesh/dynmesh"
)

// Buckets is the number of parts in which tables are compared. An observer is in one of them, by the hash of its ID.
const Buckets = 256

// Digest is a table in 2 kB: equal ones are of equal tables. The table keeps it up to date, so it costs nothing to ask for.
type Digest [Buckets]uint64

// Digest returns the table's digest.
func (t *Table) Digest() Digest { return t.digest }

// Differ returns the buckets in which tables with these digests differ.
func (d Digest) Differ(other Digest) []int {
	var list []int
	for i := range d {
		if d[i] != other[i] {
			list = append(list, i)
		}
	}
	return list
}

// Message returns the digest as a message.
func (d Digest) Message() []byte {
	b := append(make([]byte, 0, 8+8*Buckets), Version, TypeDigest)
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendVarint(b, 8*Buckets)
	for _, h := range d {
		b = protowire.AppendFixed64(b, h)
	}
	return b
}

// ParseDigest reads what [Digest.Message] wrote. Its errors are those of [Table.Merge].
func ParseDigest(message []byte) (d Digest, err error) {
	body, err := open(message, TypeDigest)
	if err != nil {
		return d, err
	}
	found := false
	err = EachField(body, func(num protowire.Number, typ protowire.Type, v []byte, _ uint64) error {
		if num != 1 || typ != protowire.BytesType {
			return nil
		}
		if len(v) != 8*Buckets {
			return badf("digest of %d bytes", len(v))
		}
		for i := range d {
			d[i] = binary.LittleEndian.Uint64(v[8*i:])
		}
		found = true
		return nil
	})
	if err == nil && !found {
		err = badf("no digest")
	}
	return d, err
}

func bucketOf(id dynmesh.InstanceID) int {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(id))
	return int(xxhash.Sum64(b[:]) >> 56)
}

func (l *life) hash() uint64 {
	var b [24]byte
	binary.LittleEndian.PutUint64(b[:], uint64(l.ID))
	binary.LittleEndian.PutUint64(b[8:], l.Epoch)
	binary.LittleEndian.PutUint64(b[16:], l.floor)
	return xxhash.Sum64(b[:])
}

// hash covers the bytes too, so that equal digests mean equal tables even where an observer gave one sequence twice.
func (e *entry) hash() uint64 {
	b := make([]byte, 0, 256)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.life.ID))
	b = binary.LittleEndian.AppendUint64(b, e.life.Epoch)
	b = binary.LittleEndian.AppendUint64(b, e.seq)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.subject.ID))
	for _, s := range [3]string{e.subject.Endpoint.Namespace, e.subject.Endpoint.Component, e.subject.Endpoint.Name} {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	return xxhash.Sum64(append(b, e.raw...))
}
