package swim

import (
	"context"
	"net"
	"time"

	"github.com/dynmesh/dynmesh/gossip/frame"
	"github.com/dynmesh/dynmesh/internal/budget"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// The first byte of a connection says what it is.
const (
	memberlistByte = frame.LabelByte // memberlist's label, which is never absent here
	tripwireByte   = 0xd7            // an idle connection that its holder watches: it ends when this process does
)

// Bounds on connections that others open. Where few files may be open, an eighth and a sixteenth of
// them are less.
const (
	firstByteTimeout = 5 * time.Second
	MaxInbound       = 512 // connections that members, or others, have opened and that say something
	MaxTripwires     = 256 // and that do not; two members hold one each
)

func (t *transport) accept() {
	maxInbound := int(budget.Files(8, MaxInbound))
	var wait time.Duration
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			wait = min(max(2*wait, 5*time.Millisecond), time.Second) // such as no more file descriptors
			if timers.Sleep(t.ctx, wait) != nil {
				return
			}
			continue
		}
		wait = 0
		t.heard.Store(time.Now().UnixNano())
		if !t.reserve(&t.inbound, maxInbound) {
			_ = conn.Close()
			t.counters.Reject("too_many_streams")
			continue
		}
		conn, err = t.track(conn, func() { t.inbound-- })
		if err != nil {
			return
		}
		t.wg.Go(func() { t.dispatch(conn.(*trackedConn)) })
	}
}

// reserve counts one more, unless the limit is reached.
func (t *transport) reserve(n *int, limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if *n >= limit {
		return false
	}
	*n++
	return true
}

// dispatch finds out what a connection is for.
func (t *transport) dispatch(conn *trackedConn) {
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
		case t.streamCh <- t.guard.stream(&peekedConn{Conn: conn, first: first[:]}, false): // memberlist sets a deadline, and closes it
		case <-t.ctx.Done():
			_ = conn.Close()
		}
	case tripwireByte:
		t.holdTripwire(conn)
	default:
		t.counters.Reject("unknown_stream")
		_ = conn.Close()
	}
}

// holdTripwire keeps a tripwire until its holder lets go of it, or says anything. The kernel's
// keepalive ends those of hosts that are gone.
func (t *transport) holdTripwire(conn *trackedConn) {
	defer func() { _ = conn.Close() }()
	if maxTripwires := int(budget.Files(16, MaxTripwires)); !t.reserve(&t.tripwires, maxTripwires) {
		t.counters.Reject("too_many_tripwires")
		return
	}
	t.mu.Lock()
	t.inbound--
	conn.released = func() { t.tripwires-- }
	t.mu.Unlock()
	t.delegate.TripwireOpened()
	var b [1]byte
	_, _ = conn.Read(b[:])
}

// openTripwire connects to a member's gossip and asks it to hold the connection. It is the caller's
// to close, and ends with the transport.
func (t *transport) openTripwire(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := t.network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetWriteDeadline(time.Now().Add(dialTimeout))
	if _, err := conn.Write([]byte{tripwireByte}); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return t.track(conn, nil)
}

// peekedConn is a connection of which the first byte has been read.
type peekedConn struct {
	net.Conn
	first []byte
}

func (c *peekedConn) Read(b []byte) (int, error) {
	if len(c.first) > 0 && len(b) > 0 {
		n := copy(b, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}
