package worker

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dynmesh/dynmesh/internal/budget"
	"github.com/dynmesh/dynmesh/worker/traffic"
	"github.com/sirupsen/logrus"
)

const (
	// maxUnread is how long a client may leave one piece of an answer unread. Without a bound it
	// would hold its handler for ever. The bound is on each piece of writePiece bytes, since a
	// whole answer may rightly stream for hours.
	maxUnread  = 30 * time.Second
	writePiece = 64 << 10

	// slowClient is when a request counts as blocked by its client.
	slowClient = 10 * time.Millisecond

	// maxUnreadBehind is maxUnread where an engine answers, which may bear with its clients for as
	// long as it likes.
	maxUnreadBehind = time.Hour
)

const (
	// connCost is what a connection takes at least, in bytes: buffers and the stack of net/http, and
	// the kernel's; more where files are scarcer than memory. firstHead is how much of a request's
	// head goes with it.
	connCost  = 16 << 10
	firstHead = 16 << 10

	// maxRequests and maxStatus are what the connections to a server may take together, with the
	// heads and bodies of their requests, in bytes.
	maxRequests = 1 << 30
	maxStatus   = 64 << 20

	// sayFullEvery is how often it is logged that there is no room.
	sayFullEvery = time.Minute
)

// listener knows its open connections, and which of them carry a request. net/http's own Shutdown
// polls twice a second, and waits 5 s for a client that has connected and asks for nothing.
type listener struct {
	net.Listener
	log    *logrus.Entry
	unread time.Duration // maxUnread, or what takes its place
	room   *budget.Budget
	cost   int64 // of room, that a connection takes: connCost at least

	mu    sync.Mutex
	full  time.Time          // when it was last logged that there is no room
	conns map[*conn]struct{} // until their handlers have returned, closed or not
	drain chan struct{}      // closed when the shutdown begins
	empty chan struct{}      // closed when it has begun and no connection is left
}

// conn is one connection.
type conn struct {
	net.Conn
	ln       *listener
	framed   *framed // above it; nil: a test's
	busy     bool    // it carries a request; guarded by the listener's mu
	hijacked bool    // whoever has it now closes it; guarded by the listener's mu

	count atomic.Pointer[traffic.Request] // of the request that is answered

	room  *budget.Claim
	extra int64       // of room, beyond the listener's cost; its server's goroutine only
	head  int64       // bytes read of the head; its server's goroutine only
	asked atomic.Bool // the head has been read

	fast fastWriter
}

// listen binds an address. All connections to it share a part in so many of the memory, and of the
// files that may be open, and most bytes at most.
func listen(host string, port int, parts, most int64, log *logrus.Entry) (*listener, error) {
	ln, err := net.Listen("tcp", hostPort(host, port))
	if err != nil {
		return nil, err
	}
	l := newListener(ln, budget.Share(parts, most), log)
	l.cost = budget.PerConnection(budget.Share(parts, most), connCost, parts)
	return l, nil
}

func newListener(ln net.Listener, room int64, log *logrus.Entry) *listener {
	return &listener{
		Listener: ln,
		log:      log,
		unread:   maxUnread,
		room:     budget.New(room),
		cost:     connCost,
		conns:    make(map[*conn]struct{}),
		drain:    make(chan struct{}),
		empty:    make(chan struct{}),
	}
}

// port is the one that was bound, where the configuration said any.
func (l *listener) port() int {
	if addr, ok := l.Addr().(*net.TCPAddr); ok {
		return addr.Port
	}
	return 0 // unreachable: it listens on TCP
}

// Accept outlasts temporary errors, such as a want of file descriptors. net/http would, too, but
// for some of them, and without an end when the listener is closed meanwhile.
func (l *listener) Accept() (net.Conn, error) {
	const first = 5 * time.Millisecond
	for wait := first; ; wait = min(max(2*wait, first), time.Second) {
		inner, err := l.Listener.Accept()
		if err == nil {
			c, err := l.add(inner)
			if errors.Is(err, errNoRoom) {
				wait = 0 // it is not the listener that fails
				continue
			}
			return c, err
		}
		if !isTemporary(err) {
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

func isTemporary(err error) bool {
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
	c := &conn{Conn: inner, ln: l, room: l.room.Claim(budget.HostOf(inner), func() { _ = inner.Close() })}
	if !c.room.Grow(l.cost) {
		_ = inner.Close()
		if now := time.Now(); now.Sub(l.full) >= sayFullEvery {
			l.full = now
			l.log.WithField("connections", len(l.conns)).Warn("There is no room for more connections: new ones are closed")
		}
		return nil, errNoRoom
	}
	c.fast.init(inner)
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

// connState is told by the server what becomes of a connection.
func (l *listener) connState(nc net.Conn, state http.ConnState) {
	c := accepted(nc)
	if c == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch state {
	case http.StateActive:
		c.busy = true
	case http.StateIdle:
		c.busy = false
		c.answered()
		if c.framed != nil {
			c.framed.idle()
		}
		if l.draining() {
			_ = c.Conn.Close() // its answer is out
		}
	case http.StateHijacked:
		c.hijacked = true
	case http.StateClosed: // the handler has returned
		l.remove(c)
	}
}

// remove forgets a connection. The caller has the lock.
func (l *listener) remove(c *conn) {
	delete(l.conns, c)
	c.room.Release()
	if len(l.conns) == 0 && l.draining() {
		l.closeEmpty()
	}
}

// stop closes the listener and the connections without a request. Those with one are closed as
// their answers end.
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
			_ = c.Conn.Close()
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
		_ = c.Conn.Close()
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

// withConn lets handlers find the connection of their request.
func withConn(ctx context.Context, c net.Conn) context.Context {
	client := accepted(c)
	if client == nil {
		return ctx // unreachable: the listener makes all of them
	}
	client.framed, _ = c.(*framed)
	return traffic.WithClient(ctx, client)
}

// accepted is the listener's own connection, which may be below TLS; nil: it is another's.
func accepted(c net.Conn) *conn {
	if f, ok := c.(*framed); ok {
		c = f.Conn
	}
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	own, _ := c.(*conn)
	return own
}

// connOf returns nil where a test calls a handler without a connection.
func connOf(ctx context.Context) *conn {
	c, _ := traffic.ClientOf(ctx).(*conn)
	return c
}

// errNoRoom is of a connection, or a request, for which there is no memory, or no longer.
var errNoRoom = errors.New("there is no room for more")

// Read bounds what the heads of requests take together.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 || c.asked.Load() {
		return n, err
	}
	if c.head += int64(n); c.head > firstHead+c.extra && !c.grow(max(c.head-firstHead-c.extra, firstHead)) {
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: errNoRoom} // net/http closes without a word
	}
	return n, err
}

// grow takes room for n bytes more. A nil connection, of a test, has all the room it wants.
func (c *conn) grow(n int64) bool {
	if c == nil {
		return true
	}
	if !c.room.Grow(n) {
		return false
	}
	c.extra += n
	return true
}

// shrink gives back n bytes.
func (c *conn) shrink(n int64) {
	if c != nil {
		c.extra -= n
		c.room.Shrink(n)
	}
}

// work says that a request has come as a whole. From then on its connection is not closed to make
// room; false: it has been.
func (c *conn) work() bool { return c == nil || c.room.Keep() }

// answered makes the connection one of those that wait.
func (c *conn) answered() {
	if c.extra > 0 {
		c.shrink(c.extra)
	}
	c.room.Wait()
	c.head = 0
	c.asked.Store(false)
}

// Count has r counted as blocked while the client is slow.
func (c *conn) Count(r *traffic.Request) { c.count.Store(r) }

// SyscallConn is for those who want to know of the client what reading would not tell.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// Close also tells the listener of connections that net/http no longer knows.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.ln.mu.Lock()
	defer c.ln.mu.Unlock()
	if c.hijacked {
		c.ln.remove(c)
	}
	return err
}

// CloseWrite lets net/http end an answer before the client has sent all of its request.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// Write bounds how long a client may leave an answer unread.
func (c *conn) Write(b []byte) (int, error) {
	for written := 0; ; {
		n, err := c.writePiece(b[written:min(written+writePiece, len(b))])
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
	}
}

// writePiece counts the request as blocked when its client is slow. It may write less than b.
func (c *conn) writePiece(b []byte) (int, error) {
	n := c.fast.write(b)
	if n == len(b) {
		return n, nil // most are: the kernel has room
	}
	start := time.Now()
	if err := c.SetWriteDeadline(start.Add(slowClient)); err != nil {
		return n, err
	}
	defer func() { _ = c.SetWriteDeadline(time.Time{}) }() // it fails where the connection is closed
	m, err := c.Conn.Write(b[n:])
	n += m
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	if count := c.count.Load(); count != nil {
		count.Block()
		defer count.Unblock()
	}
	if err := c.SetWriteDeadline(start.Add(c.ln.unread)); err != nil {
		return n, err
	}
	m, err = c.Conn.Write(b[n:])
	return n + m, err
}
