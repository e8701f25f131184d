package worker

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

// maxUnread is how long one piece of an answer may wait for its client to read.
const (
	maxUnread  = 30 * time.Second
	writePiece = 64 << 10
)

// listener knows its open connections, and which of them carry a request. The server's own shutdown does not: it would
// wait for every client that keeps a connection open without using it (fasthttp counts a new one as busy until its first
// request is read), and polls ten times a second.
type listener struct {
	net.Listener
	log       *logrus.Entry
	accepting chan struct{} // closed by the first Accept: from then on, clients are served

	begun sync.Once
	mu    sync.Mutex
	conns map[*conn]struct{} // until the server has done with them, which may be after they are closed
	drain chan struct{}      // closed when the shutdown begins
	empty chan struct{}      // closed when it has begun and no connection is left
}

// conn is one connection. The server tells the listener when it begins and ends to carry a request.
type conn struct {
	net.Conn
	busy bool // guarded by the listener's mu
}

func listen(host string, port int, log *logrus.Entry) (*listener, error) {
	ln, err := net.Listen("tcp", hostPort(host, port))
	if err != nil {
		return nil, err
	}
	return &listener{
		Listener:  ln,
		log:       log,
		accepting: make(chan struct{}),
		conns:     make(map[*conn]struct{}),
		drain:     make(chan struct{}),
		empty:     make(chan struct{}),
	}, nil
}

// Accept outlasts what passes, such as a want of file descriptors: the server ends with the first error it sees.
func (l *listener) Accept() (net.Conn, error) {
	l.begun.Do(func() { close(l.accepting) })
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		inner, err := l.Listener.Accept()
		if err == nil {
			return l.add(inner)
		}
		if !passing(err) {
			return nil, err
		}
		l.log.WithField("err", err).WithField("dur", wait).Warn("Cannot accept a connection, trying again")
		select {
		case <-time.After(wait):
		case <-l.drain:
			return nil, net.ErrClosed
		}
	}
}

func passing(err error) bool {
	for _, e := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNRESET,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (l *listener) add(inner net.Conn) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining() {
		_ = inner.Close() // it came while the listener closed
		return nil, net.ErrClosed
	}
	c := &conn{Conn: inner}
	l.conns[c] = struct{}{}
	return c, nil
}

func (l *listener) draining() bool {
	select {
	case <-l.drain:
		return true
	default:
		return false
	}
}

// begin marks a connection that carries a request, and says whether the request may still begin.
func (l *listener) begin(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := c.(*conn); ok {
		c.busy = true
	}
	return !l.draining()
}

// idle follows begin when the answer is written.
func (l *listener) idle(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.busy = false
	if l.draining() {
		_ = c.Close() // its answer is out; the server notices and forgets it
	}
}

// forget is called when the server has done with a connection, and with all that worked for it.
func (l *listener) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	if len(l.conns) == 0 && l.draining() {
		l.closeEmpty()
	}
}

// stop closes the listener and the connections without a request. Those with one are closed as their answers end.
func (l *listener) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining() {
		return
	}
	close(l.drain)
	_ = l.Close() // nothing was written to it that could be lost
	for c := range l.conns {
		if !c.busy {
			_ = c.Close()
		}
	}
	if len(l.conns) == 0 {
		l.closeEmpty()
	}
}

// cut closes every connection, whatever it carries.
func (l *listener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Close()
	}
}

// wait follows stop. It returns how many connections are left when all are done, or after d.
func (l *listener) wait(d time.Duration) int {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-l.empty:
	case <-t.C:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

func (l *listener) closeEmpty() {
	select {
	case <-l.empty:
	default:
		close(l.empty)
	}
}

// Write bounds how long a client may leave an answer unread: without a bound it would hold its handler for ever. The
// bound is on each piece, since a whole answer may rightly stream for hours.
func (c *conn) Write(b []byte) (int, error) {
	for written := 0; ; {
		piece := b[written:min(written+writePiece, len(b))]
		if err := c.SetWriteDeadline(time.Now().Add(maxUnread)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(piece)
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
	}
}
