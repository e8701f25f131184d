package gossip

import (
	"context"
	"net"
	"time"
)

// The first byte of a connection says what it is.
const (
	memberlistByte = 244  // memberlist's label, which is never absent here
	tripwireByte   = 0xd7 // an idle connection that its holder watches: it ends when this process does
)

const (
	firstByteTimeout = 5 * time.Second
	maxInbound       = 512 // connections that members, or others, have opened and that say something
	maxTripwires     = 256 // and that do not; two members hold one each
)

func (t *transport) accept() {
	var wait time.Duration
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			wait = min(max(2*wait, 5*time.Millisecond), time.Second) // such as no more file descriptors
			if !sleep(t.ctx, wait) {
				return
			}
			continue
		}
		wait = 0
		if !t.take(&t.inbound, maxInbound) {
			_ = conn.Close()
			t.metrics.reject("too_many_streams")
			continue
		}
		conn, err = t.keep(conn, func() { t.inbound-- })
		if err != nil {
			return
		}
		t.wg.Go(func() { t.sort(conn.(*kept)) })
	}
}

func (t *transport) take(n *int, limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if *n >= limit {
		return false
	}
	*n++
	return true
}

// sort finds out what a connection is for.
func (t *transport) sort(conn *kept) {
	var first [1]byte
	_ = conn.SetReadDeadline(time.Now().Add(firstByteTimeout))
	if _, err := conn.Read(first[:]); err != nil {
		_ = conn.Close() // whoever only connects looks whether it can: that is none of our business
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	switch first[0] {
	case memberlistByte:
		select {
		case t.streamCh <- &unread{Conn: conn, first: first[:]}: // memberlist sets a deadline, and closes it
		case <-t.ctx.Done():
			_ = conn.Close()
		}
	case tripwireByte:
		t.hold(conn)
	default:
		t.metrics.reject("unknown_stream")
		_ = conn.Close()
	}
}

// hold keeps a tripwire until its holder lets go of it, or says anything. The kernel's keepalive ends those of hosts that are gone.
func (t *transport) hold(conn *kept) {
	defer func() { _ = conn.Close() }()
	if !t.take(&t.tripwires, maxTripwires) {
		t.metrics.reject("too_many_tripwires")
		return
	}
	t.mu.Lock()
	t.inbound--
	conn.released = func() { t.tripwires-- }
	t.mu.Unlock()
	t.holds()
	var b [1]byte
	_, _ = conn.Read(b[:])
}

// Dial connects to anything.
func (t *transport) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return t.network.dial(ctx, addr)
}

// held returns how many tripwires others hold.
func (t *transport) held() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tripwires
}

// OpenTripwire connects to a member's gossip and asks it to hold the connection. It is the caller's to close, and ends with
// the transport.
func (t *transport) OpenTripwire(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := t.network.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetWriteDeadline(time.Now().Add(dialTimeout))
	if _, err := conn.Write([]byte{tripwireByte}); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return t.keep(conn, nil)
}

// unread is a connection of which the first byte has been read.
type unread struct {
	net.Conn
	first []byte
}

func (c *unread) Read(b []byte) (int, error) {
	if len(c.first) > 0 && len(b) > 0 {
		n := copy(b, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}
