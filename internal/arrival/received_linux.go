package arrival

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sinceReceived is how long ago the kernel received the last data of a connection; 0 where that is
// not known.
func sinceReceived(c net.Conn) (ago time.Duration) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // it fails where the connection is closed
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			ago = time.Duration(info.Last_data_recv) * time.Millisecond
		}
	})
	return ago
}
