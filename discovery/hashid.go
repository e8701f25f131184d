package discovery

import (
	"encoding/binary"
	"math/bits"

	"github.com/dynmesh/dynmesh"
)

// HashID returns the ID that Dynamo gives to the worker in a pod of that name: the hash of a text
// in Rust's standard library (SipHash-1-3, key 0, of its bytes and 0xff), of which the lower 53
// bits count, so that JavaScript can hold it. Other sources that have names and no IDs use it, too.
func HashID(name string) dynmesh.InstanceID {
	return dynmesh.InstanceID(sipHash13(append([]byte(name), 0xff)) & (1<<53 - 1))
}

// sipHash13 is SipHash-1-3 with a key of zeros: https://github.com/veorq/SipHash.
func sipHash13(data []byte) uint64 {
	v0, v1, v2, v3 := uint64(0x736f6d6570736575), uint64(0x646f72616e646f6d), uint64(0x6c7967656e657261), uint64(0x7465646279746573)
	round := func() {
		v0 += v1
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v3
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 += v3
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 += v1
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	compress := func(m uint64) {
		v3 ^= m
		round()
		v0 ^= m
	}
	length := uint64(len(data)) << 56
	for ; len(data) >= 8; data = data[8:] {
		compress(binary.LittleEndian.Uint64(data))
	}
	var last [8]byte
	copy(last[:], data)
	compress(binary.LittleEndian.Uint64(last[:]) | length)
	v2 ^= 0xff
	for range 3 {
		round()
	}
	return v0 ^ v1 ^ v2 ^ v3
}
