//go:build unix

package worker

import (
	"net"
	"sync"
	"syscall"
)

// fastWriter writes what the kernel takes at once. A deadline for each piece of a stream would cost
// as much as the write.
type fastWriter struct {
	raw syscall.RawConn // nil: not a socket
	try func(fd uintptr) bool

	mu      sync.Mutex
	data    []byte
	written int
}

func (w *fastWriter) init(c net.Conn) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	w.raw = raw
	w.try = func(fd uintptr) bool { // made once: it would be allocated for each write
		n, err := syscall.Write(int(fd), w.data)
		if err != nil {
			n = 0 // whoever writes the rest meets it again
		}
		w.written = n
		return true // never waits
	}
}

// write returns how many bytes the kernel took.
func (w *fastWriter) write(b []byte) int {
	if w.raw == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.data, w.written = b, 0
	_ = w.raw.Write(w.try) // where it fails, so does who writes the rest
	w.data = nil
	return w.written
}
