package table

import (
	"encoding/binary"
	"math/bits"

	"github.com/dynmesh/dynmesh"
)

// buckets is the number of parts in which tables are compared. An observer is in one of them, by
// the hash of its ID.
const buckets = 256

// Digest is a table in 2 kB: equal ones are of equal tables.
type Digest [buckets]uint64

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
	b := append(make([]byte, 0, 8+8*buckets), Version, TypeDigest)
	b = appendLength(b, 1, 8*buckets)
	for _, h := range d {
		b = binary.LittleEndian.AppendUint64(b, h)
	}
	return b
}

// ParseDigest reads what [Digest.Message] wrote. Its errors are those of [Table.Merge].
func ParseDigest(message []byte) (d Digest, err error) {
	body, err := openMessage(message, TypeDigest)
	if err != nil {
		return d, err
	}
	found := false
	err = eachField(body, func(f field) error {
		if f.number != 1 || f.typ != bytesType {
			return nil
		}
		if len(f.bytes) != 8*buckets {
			return malformed("digest of %d bytes", len(f.bytes))
		}
		for i := range d {
			d[i] = binary.LittleEndian.Uint64(f.bytes[8*i:])
		}
		found = true
		return nil
	})
	if err == nil && !found {
		err = malformed("no digest")
	}
	return d, err
}

// haveWriter writes what a table has in some buckets, in messages of maxBatch.
type haveWriter struct {
	done    [][]byte
	message []byte
	bucket  []byte
}

func (w *haveWriter) begin(bucket, observers int) {
	w.bucket = appendVarint(w.bucket[:0], 1, uint64(bucket))
	w.bucket = appendLength(w.bucket, 2, 16*observers)
}

func (w *haveWriter) add(id dynmesh.InstanceID, digest uint64) {
	w.bucket = binary.LittleEndian.AppendUint64(w.bucket, uint64(id))
	w.bucket = binary.LittleEndian.AppendUint64(w.bucket, digest)
}

func (w *haveWriter) end() {
	if w.message != nil && len(w.message)+1+lengthSize+len(w.bucket) > maxBatch {
		w.done = append(w.done, w.message)
		w.message = nil
	}
	if w.message == nil {
		w.message = []byte{Version, TypeHave}
	}
	w.message = appendBytes(w.message, 1, w.bucket)
}

func (w *haveWriter) all() [][]byte {
	if w.message == nil {
		return w.done
	}
	return append(w.done, w.message)
}

// parseHave returns, by bucket and observer, what haveWriter was given.
func parseHave(message []byte) (map[int]map[dynmesh.InstanceID]uint64, error) {
	body, err := openMessage(message, TypeHave)
	if err != nil {
		return nil, err
	}
	have := map[int]map[dynmesh.InstanceID]uint64{}
	err = eachField(body, func(f field) error {
		if f.number != 1 || f.typ != bytesType {
			return nil
		}
		i, observers, err := parseBucket(f.bytes)
		have[i] = observers
		return err
	})
	return have, err
}

func parseBucket(b []byte) (index int, observers map[dynmesh.InstanceID]uint64, err error) {
	observers = map[dynmesh.InstanceID]uint64{}
	err = eachField(b, func(f field) error {
		switch {
		case f.number == 1 && f.typ == varintType:
			if f.value >= buckets {
				return malformed("bucket %d", f.value)
			}
			index = int(f.value)
		case f.number == 2 && f.typ == bytesType:
			if len(f.bytes)%16 != 0 {
				return malformed("bucket of %d bytes", len(f.bytes))
			}
			for v := f.bytes; len(v) > 0; v = v[16:] {
				observers[dynmesh.InstanceID(binary.LittleEndian.Uint64(v))] = binary.LittleEndian.Uint64(v[8:])
			}
		}
		return nil
	})
	return index, observers, err
}

func bucketOf(id dynmesh.InstanceID) int {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(id))
	return int(xxh64(b[:]) >> 56)
}

func (i *incarnation) hash() uint64 {
	var b [24]byte
	binary.LittleEndian.PutUint64(b[:], uint64(i.ID))
	binary.LittleEndian.PutUint64(b[8:], i.Epoch)
	binary.LittleEndian.PutUint64(b[16:], i.watermark)
	return xxh64(b[:])
}

// hash covers the bytes too, so that equal digests mean equal tables even where an observer gave
// one sequence twice.
func (e *entry) hash() uint64 {
	b := make([]byte, 0, 256)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.of.ID))
	b = binary.LittleEndian.AppendUint64(b, e.of.Epoch)
	b = binary.LittleEndian.AppendUint64(b, e.seq)
	b = appendSubject(b, e.subject)
	return xxh64(append(b, e.raw...))
}

// The primes of XXH64.
const (
	prime1 uint64 = 0x9e3779b185ebca87
	prime2 uint64 = 0xc2b2ae3d27d4eb4f
	prime3 uint64 = 0x165667b19e3779f9
	prime4 uint64 = 0x85ebca77c2b2ae63
	prime5 uint64 = 0x27d4eb2f165667c5
)

// xxh64 is XXH64 with seed 0, by which wire.proto defines digests. The standard library has no hash
// that is equal in all processes and as fast; the package must link nothing else. A test holds it
// to cespare/xxhash.
func xxh64(b []byte) uint64 {
	n := uint64(len(b))
	h := prime5
	if len(b) >= 32 {
		lanes := [4]uint64{0x60ea27eeadc0b5d6, prime2, 0, ^prime1 + 1} // prime1+prime2, prime2, 0, -prime1
		for ; len(b) >= 32; b = b[32:] {
			for i := range lanes {
				lanes[i] = xxhRound(lanes[i], binary.LittleEndian.Uint64(b[8*i:]))
			}
		}
		h = bits.RotateLeft64(lanes[0], 1) + bits.RotateLeft64(lanes[1], 7) +
			bits.RotateLeft64(lanes[2], 12) + bits.RotateLeft64(lanes[3], 18)
		for _, lane := range lanes {
			h = (h^xxhRound(0, lane))*prime1 + prime4
		}
	}
	h += n
	for ; len(b) >= 8; b = b[8:] {
		h = bits.RotateLeft64(h^xxhRound(0, binary.LittleEndian.Uint64(b)), 27)*prime1 + prime4
	}
	if len(b) >= 4 {
		h = bits.RotateLeft64(h^uint64(binary.LittleEndian.Uint32(b))*prime1, 23)*prime2 + prime3
		b = b[4:]
	}
	for _, c := range b {
		h = bits.RotateLeft64(h^uint64(c)*prime5, 11) * prime1
	}
	h = (h ^ h>>33) * prime2
	h = (h ^ h>>29) * prime3
	return h ^ h>>32
}

func xxhRound(lane, input uint64) uint64 {
	return bits.RotateLeft64(lane+input*prime2, 31) * prime1
}
