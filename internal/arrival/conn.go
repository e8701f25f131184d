package arrival

import (
	"net"
	"time"
)

// granularity is how far the kernel's word may be off: its clock for this ticks each 1 to 10 ms.
// What is younger counts as having arrived when it is read.
const granularity = 50 * time.Millisecond

// Conn is a connection that notes when what is read from it arrived.
type Conn struct {
	net.Conn
	note func(time.Time)
}

// NewConn makes note be called after each read that brings something, by the goroutine that reads.
// c is best what a [net.Dialer] returns.
func NewConn(c net.Conn, note func(at time.Time)) *Conn { return &Conn{Conn: c, note: note} }

// Read reads, and notes.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		at := time.Now()
		if ago := sinceReceived(c.Conn); ago >= granularity {
			at = at.Add(-ago)
		}
		c.note(at)
	}
	return n, err
}
