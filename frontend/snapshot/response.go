package snapshot

import (
	"slices"
	"sync/atomic"
)

// Response is what GET answers, in one or two content codings.
type Response struct {
	Identity *Representation
	gzip     atomic.Pointer[Representation]
}

// Gzip returns the compressed form; nil until it is there, and for ever where compressing is not
// worth it.
func (r *Response) Gzip() *Representation { return r.gzip.Load() }

// SetGzip adds the compressed form.
func (r *Response) SetGzip(compressed *Representation) { r.gzip.Store(compressed) }

// Representation is an answer in one content coding. It never changes. Its buffers may be shared
// with other answers, but lead to nothing else that a slow client who still reads them could keep
// in memory.
type Representation struct {
	Buffers         [][]byte // one after the other; at least one
	Size            int      // of all buffers
	ETag            string
	ContentEncoding string // empty for identity
	Version         uint64 // of the snapshot that it was rendered for

	Lineage *Lineage // nil: nothing replaces it
	mark    int64    // what the lineage had replaced when this was rendered
}

// Replaced returns the most bytes that readers of this answer and of all that came after it keep in
// memory, beyond the newest one. It is 0 for the newest.
func (r *Representation) Replaced() int64 {
	if r.Lineage == nil {
		return 0
	}
	return r.Lineage.replaced.Load() - r.mark
}

// A Lineage is a sequence of answers of which each replaces the one before and shares memory with
// it. It counts the bytes that later ones did not take over.
type Lineage struct{ replaced atomic.Int64 }

// Replace counts bytes of earlier answers that the next one does not have.
func (l *Lineage) Replace(bytes int) { l.replaced.Add(int64(bytes)) }

// joinedSize is the size in bytes up to which an answer is one buffer: so little is sooner copied
// than sent in parts. It must not be less than the 8 KiB up to which the HTTP server copies an
// answer into a buffer of its own.
const joinedSize = 32 << 10

// NewRepresentation makes the newest answer of a lineage.
func NewRepresentation(l *Lineage, version uint64, etag string, buffers ...[]byte) *Representation {
	r := &Representation{Buffers: buffers, ETag: etag, Version: version, Lineage: l, mark: l.replaced.Load()}
	for _, b := range buffers {
		r.Size += len(b)
	}
	if r.Size <= joinedSize && len(buffers) > 1 {
		r.Buffers = [][]byte{slices.Concat(buffers...)}
	}
	return r
}

// With returns an answer of r's place in its lineage with other buffers, most of which are r's.
func (r *Representation) With(buffers ...[]byte) *Representation {
	other := NewRepresentation(r.Lineage, r.Version, r.ETag, buffers...)
	other.mark = r.mark
	return other
}

// Bytes returns the whole answer in one piece.
func (r *Representation) Bytes() []byte { return slices.Concat(r.Buffers...) }
