package api

import (
	"cmp"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/budget"
)

const (
	// maxReplaced is how many bytes of replaced answers slow clients may keep in memory together, or
	// an eighth of it.
	maxReplaced = 256 << 20

	// connCost is what a connection takes at least, in bytes: the server's buffers and stack, and the
	// kernel's; more where files are scarcer. All of them together have maxConns, or an eighth of the
	// memory, and a quarter of the files.
	connCost = 16 << 10
	maxConns = 1 << 30
)

// connections is a listener that knows its open connections and what each one is sending. It bounds
// what slow clients cost, and closes what is left when a shutdown has waited long enough, which the
// server below does not do by itself.
type connections struct {
	net.Listener
	log         *logrus.Entry
	maxReplaced int64
	stop        chan struct{}
	once        sync.Once
	cut         atomic.Uint64 // connections closed because they kept replaced answers
	room        *budget.Budget
	cost        int64 // of room, that a connection takes: connCost at least

	mu      sync.Mutex
	open    map[*conn]struct{}
	serving sync.WaitGroup // one for each of open
}

func newConnections(ln net.Listener, log *logrus.Entry) *connections {
	room := budget.Share(8, maxConns)
	return &connections{
		Listener: ln, log: log, maxReplaced: budget.Share(8, maxReplaced), room: budget.New(room), cost: budget.PerConnection(room, connCost, 4),
		stop: make(chan struct{}), open: map[*conn]struct{}{},
	}
}

// Accept does not return for want of file descriptors: the server would end for good, where all
// that is needed is that some connections close. Where there are too many, the address that has
// most loses its oldest.
func (c *connections) Accept() (net.Conn, error) {
	for backoff := 5 * time.Millisecond; ; backoff = min(2*backoff, time.Second) {
		inner, err := c.Listener.Accept()
		if err == nil {
			accepted := &conn{Conn: inner, set: c, room: c.room.Claim(budget.HostOf(inner), func() { closeAtOnce(inner) })}
			if !accepted.room.Grow(c.cost) {
				closeAtOnce(inner) // unreachable, unless there is room for none
				continue
			}
			c.mu.Lock()
			c.open[accepted] = struct{}{}
			c.serving.Add(1)
			c.mu.Unlock()
			return accepted, nil
		}
		if !isTemporary(err) {
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

// closeAtOnce closes a connection without a good-bye, for which TLS would wait.
func closeAtOnce(c net.Conn) {
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secure.NetConn()
	}
	_ = c.Close()
}

// isTemporary says whether a later Accept may succeed.
func isTemporary(err error) bool {
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
		// The server notices, finishes, and closes it too: then it leaves the set.
		_ = open.Conn.Close()
	}
	return len(c.open)
}

// wait returns when the server has finished with every connection. No Accept may be under way.
func (c *connections) wait() { c.serving.Wait() }

func (c *connections) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// shedSlow closes the connections that send the oldest answers, until all of them together keep at
// most maxReplaced bytes in memory beyond the newest answers. What several connections send counts
// once. The count is an upper bound, the smaller of two for each lineage: what its answers have
// together, and what was replaced since the oldest of them.
func (c *connections) shedSlow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	readers := map[*snapshot.Representation][]*conn{}
	var held []*snapshot.Representation
	for open := range c.open {
		r := open.sending.Load()
		if r == nil || r.Replaced() == 0 {
			continue
		}
		if readers[r] == nil {
			held = append(held, r)
		}
		readers[r] = append(readers[r], open)
	}
	newestFirst := func(a, b *snapshot.Representation) int { return cmp.Compare(b.Version, a.Version) }
	slices.SortFunc(held, newestFirst)
	kept, total := map[*snapshot.Lineage]int64{}, int64(0)
	for _, r := range held {
		before := kept[r.Lineage]
		kept[r.Lineage] = min(before+int64(r.Size), r.Replaced())
		if total += kept[r.Lineage] - before; total <= c.maxReplaced {
			continue
		}
		for _, slow := range readers[r] { // and so on with all that are older
			_ = slow.Conn.Close()
			slow.sending.Store(nil) // what it keeps goes in a moment, and it is not cut twice
			c.cut.Add(1)
		}
	}
}

// conn is one client's connection.
type conn struct {
	net.Conn
	set     *connections
	room    *budget.Claim
	sending atomic.Pointer[snapshot.Representation] // on its way, and so kept in memory
	next    *transfer                               // about to be sent; the server's goroutine only
	onClose func()                                  // nil: nothing
}

// Read passes on what comes. The server closes a connection that is none of TLS without a word.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	access.AnswerPlain(err)
	return n, err
}

// Write keeps what goes ahead of a transfer, so as to send all in one call: the header, and as much
// of the body as fits into the server's buffer. A large body after a small packet is slow over
// loopback: it was seen to take half as long again.
func (c *conn) Write(p []byte) (int, error) {
	if c.next != nil {
		c.next.header = append(c.next.header, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// ReadFrom is how the server sends what is left of a transfer, past its own buffer. It says how
// much that is, of which there is neither more nor less.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if t, ok := limited.R.(*transfer); ok {
			c.next = nil
			n, err := t.send(c.Conn)
			limited.N -= n
			return n, err
		}
	}
	return io.Copy(c.Conn, r)
}

// SetWriteDeadline does not say that the connection is closed already: the server would panic,
// where the write that follows fails in any case. It may have been closed to relieve the memory, or
// at the end.
func (c *conn) SetWriteDeadline(t time.Time) error {
	_ = c.Conn.SetWriteDeadline(t)
	return nil
}

// Close is called by the server when it has finished with the connection, or to end an idle one:
// then twice.
func (c *conn) Close() error {
	c.set.mu.Lock()
	if _, open := c.set.open[c]; open {
		delete(c.set.open, c)
		c.room.Release()
		if c.onClose != nil {
			c.onClose()
		}
		c.set.serving.Done()
	}
	c.set.mu.Unlock()
	return c.Conn.Close()
}

// transfer is a large answer on its way to one client. It is not an io.WriterTo: the server asks
// for that first, and gives its own buffer, where a conn hands all buffers to the kernel in one
// call.
type transfer struct {
	header  []byte // goes ahead of the buffers
	buffers net.Buffers
}

func newTransfer(r *snapshot.Representation) *transfer {
	return &transfer{buffers: slices.Clone(r.Buffers)} // sending uses them up
}

// Read reads the buffers. The server does so as long as its own buffer is not empty.
func (t *transfer) Read(p []byte) (int, error) { return t.buffers.Read(p) }

// send writes the header and what is left of the buffers, without copying if w is a TCP connection,
// and returns how many bytes of the buffers it has sent.
func (t *transfer) send(w io.Writer) (int64, error) {
	all := append(net.Buffers{t.header}, t.buffers...)
	t.buffers = nil // the server reads on, to see that nothing is left
	n, err := all.WriteTo(w)
	return max(0, n-int64(len(t.header))), err
}
