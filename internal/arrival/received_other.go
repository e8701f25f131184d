//go:build !linux

package arrival

import (
	"net"
	"time"
)

func sinceReceived(net.Conn) time.Duration { return 0 }
