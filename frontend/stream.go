package frontend

import (
	"io"
	"net"
	"slices"
)

// stream is a body on its way to one client. It is not an io.WriterTo: the server asks for that first, and gives its
// own buffer, where a conn hands all segments to the kernel in one call.
type stream struct {
	header   []byte // goes ahead of the segments
	segments net.Buffers
}

func newStream(b *body) *stream {
	return &stream{segments: slices.Clone(b.segments)} // sending uses them up
}

// Read reads segments. The server does so as long as its buffer is not empty.
func (s *stream) Read(p []byte) (int, error) { return s.segments.Read(p) }

// send writes the header and what is left of the segments, without copying if w is a TCP connection, and returns how many
// bytes of the segments it has sent.
func (s *stream) send(w io.Writer) (int64, error) {
	all := append(net.Buffers{s.header}, s.segments...)
	n, err := all.WriteTo(w)
	return max(0, n-int64(len(s.header))), err
}
