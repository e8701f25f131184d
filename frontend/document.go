package frontend

import (
	"slices"
	"sync/atomic"
)

// document is an answer in both its forms.
type document struct {
	plain *body
	gzip  atomic.Pointer[body] // nil until it is compressed, and for ever when that is not worth it
}

// body is an answer in one encoding. Its segments may be shared with other bodies, but lead to nothing else that a slow
// client who still reads them could keep in memory.
type body struct {
	segments [][]byte // one after the other; at least one
	size     int      // of all segments
	etag     string
	encoding string // Content-Encoding; empty for identity
	serial   uint64 // counts the documents of this process; both forms of one have the same
}

// smallBody is the size in bytes up to which a body is one segment: so little is sooner copied than sent in parts. It must
// not be less than the 8 KiB up to which the server takes a stream through its own buffer, past [conn.ReadFrom].
const smallBody = 32 << 10

func newBody(segments [][]byte, etag string) *body {
	b := &body{segments: segments, etag: etag}
	for _, s := range segments {
		b.size += len(s)
	}
	if b.size <= smallBody && len(segments) > 1 {
		b.segments = [][]byte{slices.Concat(segments...)}
	}
	return b
}
