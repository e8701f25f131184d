package frontend

import (
	"cmp"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

// connections is a listener that knows its open connections and what each one is sending. It bounds what slow clients
// cost, and closes what is left when a shutdown has waited long enough, which the server below does not do by itself.
type connections struct {
	net.Listener
	log  *logrus.Entry
	stop chan struct{}
	once sync.Once
	cut  atomic.Uint64 // connections closed because they pinned replaced answers

	mu     sync.Mutex
	open   map[*conn]struct{}
	served sync.WaitGroup // one for each of open
}

func newConnections(ln net.Listener, log *logrus.Entry) *connections {
	return &connections{Listener: ln, log: log, stop: make(chan struct{}), open: map[*conn]struct{}{}}
}

// Accept does not return for want of file descriptors: the server would end for good, where all that is needed is that
// some connections close.
func (c *connections) Accept() (net.Conn, error) {
	for backoff := 5 * time.Millisecond; ; backoff = min(2*backoff, time.Second) {
		inner, err := c.Listener.Accept()
		if err == nil {
			accepted := &conn{Conn: inner, set: c}
			c.mu.Lock()
			c.open[accepted] = struct{}{}
			c.served.Add(1)
			c.mu.Unlock()
			return accepted, nil
		}
		if !passing(err) {
			return nil, err
		}
		c.log.WithField("err", err).WithField("dur", backoff).Warn("Cannot accept a connection, trying again")
		select {
		case <-time.After(backoff):
		case <-c.stop:
			return nil, net.ErrClosed
		}
	}
}

// passing says whether a later Accept may succeed.
func passing(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNRESET,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// Close closes the listener, not the connections. It may be called more than once.
func (c *connections) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		close(c.stop)
		err = c.Listener.Close()
	})
	return err
}

// closeAll ends all connections and returns how many there were.
func (c *connections) closeAll() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for open := range c.open {
		_ = open.Conn.Close() // the server notices, finishes, and closes it too: then it leaves the set
	}
	return len(c.open)
}

// wait returns when the server has finished with every connection. No Accept may be under way.
func (c *connections) wait() { c.served.Wait() }

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// relieve closes the connections that send the oldest answers, until those still being sent take at most limit bytes
// beyond the current ones. What several connections send, or several answers share, counts once.
func (c *connections) relieve(limit int, current ...*body) {
	c.mu.Lock()
	defer c.mu.Unlock()
	readers := map[*body][]*conn{}
	total := 0
	for open := range c.open {
		b := open.sending.Load()
		if b == nil || slices.ContainsFunc(current, func(now *body) bool { return now.serial == b.serial }) {
			continue
		}
		if len(readers[b]) == 0 {
			total += b.size
		}
		readers[b] = append(readers[b], open)
	}
	if total <= limit { // even if nothing were shared
		return
	}
	counted := map[*byte]struct{}{} // segments, by their first byte
	pinned := func(b *body) int {
		n := 0
		for _, s := range b.segments {
			if _, again := counted[&s[0]]; !again {
				counted[&s[0]] = struct{}{}
				n += len(s)
			}
		}
		return n
	}
	for _, now := range current {
		pinned(now)
	}
	total = 0
	newestFirst := slices.SortedFunc(maps.Keys(readers), func(a, b *body) int { return cmp.Compare(b.serial, a.serial) })
	for _, b := range newestFirst {
		if total += pinned(b); total <= limit {
			continue
		}
		for _, slow := range readers[b] { // and so on with all that are older
			_ = slow.Conn.Close()
			c.cut.Add(1)
		}
	}
}

// conn is one client's connection.
type conn struct {
	net.Conn
	set     *connections
	sending atomic.Pointer[body] // what is on its way to the client, and so kept in memory
	next    *stream              // the server is about to send it; the server's goroutine only
	leave   func()               // called when the connection closes; nil: there is nothing to leave
}

// Write keeps what goes ahead of a stream, so as to send both in one packet. The server would send the header alone, and
// a large body after such a small packet is slow over loopback: it was seen to take half as long again.
func (c *conn) Write(p []byte) (int, error) {
	if c.next != nil {
		c.next.header = append(c.next.header, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// ReadFrom is how the server sends a stream, past its own buffer.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if s, ok := r.(*stream); ok {
		c.next = nil
		return s.send(c.Conn)
	}
	return io.Copy(c.Conn, r)
}

// SetWriteDeadline does not say that the connection is closed already: the server would panic, where the write that
// follows fails in any case. It may have been closed to relieve the memory, or at the end.
func (c *conn) SetWriteDeadline(t time.Time) error {
	_ = c.Conn.SetWriteDeadline(t)
	return nil
}

// Close is called by the server when it has finished with the connection, or to end an idle one: then twice.
func (c *conn) Close() error {
	c.set.mu.Lock()
	if _, open := c.set.open[c]; open {
		delete(c.set.open, c)
		if c.leave != nil {
			c.leave()
		}
		c.set.served.Done()
	}
	c.set.mu.Unlock()
	return c.Conn.Close()
}
