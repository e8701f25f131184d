package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// isClosed says whether the other side has closed a connection from which nothing is to be read.
func isClosed(c net.Conn) (closed bool) {
	onSocket(c, func(fd int) {
		var b [1]byte
		n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		closed = n == 0 && err == nil || err != nil && err != unix.EAGAIN && err != unix.EINTR
	})
	return closed
}

// isHungUp says whether the other side has closed a connection from which much may be to be read
// still.
func isHungUp(c net.Conn) (gone bool) {
	onSocket(c, func(fd int) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(fds, 0)
		gone = err == nil && n > 0 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return gone
}

func onSocket(c net.Conn, f func(fd int)) {
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { f(int(fd)) }) // it fails where it is closed by us
		}
	}
}
