package gossip

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// memConn is one end of a connection in a fabric, with buffers as a kernel has them: whoever writes
// does not wait for the reader, and what is written into a network that is cut arrives when it is
// whole again.
type memConn struct {
	host, peerHost *host
	local, remote  netip.AddrPort
	in, out        *stream
}

// stream is one direction.
type stream struct {
	mu       sync.Mutex
	chunks   []chunk
	size     int
	ended    bool // no more is written
	err      error
	changed  chan struct{} // closed and replaced at each change
	deadline [2]time.Time  // of reading, of writing
	closed   [2]bool       // the reader, the writer is done with it
}

type chunk struct {
	at time.Time
	b  []byte
}

const streamBuffer = 256 << 10

const (
	reading = iota
	writing
)

// newConns is called under the fabric's lock.
func newConns(from, to *host, local, remote netip.AddrPort) (mine, theirs *memConn) {
	a, b := &stream{changed: make(chan struct{})}, &stream{changed: make(chan struct{})}
	mine = &memConn{host: from, peerHost: to, local: local, remote: remote, in: a, out: b}
	theirs = &memConn{host: to, peerHost: from, local: remote, remote: local, in: b, out: a}
	from.conns[mine] = struct{}{}
	to.conns[theirs] = struct{}{}
	return mine, theirs
}

func (s *stream) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// wait returns when the stream has changed, the deadline may be over, or after d.
func (s *stream) wait(changed chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	}
}

// cut says whether nothing gets through, and whether that is because this process is stopped.
func (c *memConn) cut() (cut, stopped bool) {
	f := c.host.fabric
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.blocked(c.peerHost, c.host) || c.host.paused || c.host.isCut(c.local) || c.peerHost.isCut(c.remote), c.host.paused
}

func (c *memConn) Read(b []byte) (int, error) {
	s := c.in
	for {
		cut, stopped := c.cut()
		s.mu.Lock()
		now, wait, changed := time.Now(), time.Hour, s.changed
		if cut {
			wait = 200 * time.Millisecond // a retransmission
		}
		switch d := s.deadline[reading]; {
		case s.closed[reading]:
			s.mu.Unlock()
			return 0, net.ErrClosed
		case s.err != nil:
			s.mu.Unlock()
			return 0, s.err
		case !d.IsZero() && !now.Before(d) && !stopped:
			s.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case !d.IsZero() && !stopped: // who is stopped has no deadlines
			wait = min(wait, d.Sub(now))
		}
		if !cut && len(s.chunks) > 0 {
			first := &s.chunks[0]
			if !now.Before(first.at) {
				n := copy(b, first.b)
				if first.b = first.b[n:]; len(first.b) == 0 {
					s.chunks = s.chunks[1:]
				}
				s.size -= n
				close(s.changed)
				s.changed = make(chan struct{})
				s.mu.Unlock()
				return n, nil
			}
			wait = min(wait, first.at.Sub(now))
		} else if !cut && s.ended {
			s.mu.Unlock()
			return 0, io.EOF
		}
		s.mu.Unlock()
		s.wait(changed, wait)
	}
}

func (c *memConn) Write(b []byte) (int, error) {
	s := c.out
	f := c.host.fabric
	f.mu.Lock()
	delay := f.latency()
	for f.chance(f.faults.loss) {
		delay += 200 * time.Millisecond
	}
	f.mu.Unlock()
	for {
		s.mu.Lock()
		now, wait, changed := time.Now(), time.Hour, s.changed
		switch d := s.deadline[writing]; {
		case s.closed[writing]:
			s.mu.Unlock()
			return 0, net.ErrClosed
		case s.err != nil || s.closed[reading]:
			s.mu.Unlock()
			return 0, syscall.EPIPE
		case !d.IsZero() && !now.Before(d):
			s.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case !d.IsZero():
			wait = d.Sub(now)
		}
		if s.size < streamBuffer {
			at := now.Add(delay)
			if n := len(s.chunks); n > 0 && s.chunks[n-1].at.After(at) {
				at = s.chunks[n-1].at // nothing overtakes
			}
			s.chunks = append(s.chunks, chunk{at, append([]byte(nil), b...)})
			s.size += len(b)
			close(s.changed)
			s.changed = make(chan struct{})
			s.mu.Unlock()
			return len(b), nil
		}
		s.mu.Unlock()
		s.wait(changed, wait)
	}
}

func (c *memConn) forget() {
	c.host.fabric.set(func() { delete(c.host.conns, c) })
}

func (c *memConn) Close() error {
	c.forget()
	c.in.change(func() { c.in.closed[reading] = true })
	c.out.change(func() { c.out.ended, c.out.closed[writing] = true, true })
	return nil
}

// reset is what a kernel does to the connections of a process that it kills. A peer that is cut off
// does not hear of it.
func (c *memConn) reset() {
	cut, _ := c.cut()
	c.forget()
	c.in.change(func() { c.in.closed[reading] = true })
	c.out.change(func() {
		c.out.closed[writing] = true
		if !cut {
			c.out.err = syscall.ECONNRESET
		}
	})
}

func (c *memConn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *memConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *memConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *memConn) SetReadDeadline(t time.Time) error {
	c.in.change(func() { c.in.deadline[reading] = t })
	return nil
}

func (c *memConn) SetWriteDeadline(t time.Time) error {
	c.out.change(func() { c.out.deadline[writing] = t })
	return nil
}
