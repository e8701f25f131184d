package swim

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/dynmesh/dynmesh/gossip/frame"
	"github.com/dynmesh/dynmesh/internal/budget"
)

const (
	// maxStreams is what all streams together may hold before memberlist sees them, in bytes, but for
	// the first of each.
	maxStreams  = 16 << 20
	firstStream = 4 << 10

	// maxRelays is how many members others may have pinged through this one in relayTime, which is
	// how long memberlist keeps a goroutine for each. A thousand members of which a hundred die ask
	// each other for less than one.
	maxRelays = 256
	relayTime = 500 * time.Millisecond

	// maxRefuted is how many claims this member refutes in refuteTime. Each counts its incarnation up.
	maxRefuted = 20
	refuteTime = time.Second
)

// errNoRoom refuses a stream for which there is no room, or no longer.
var errNoRoom = errors.New("there is no room for what came")

// guard stands before memberlist: what it lets through is what came, and allocates no more than
// what came.
type guard struct {
	rules    frame.Rules
	complain func(line string) // in memberlist's way: see logAdapter

	relays  int // since began; one goroutine reads packets
	began   time.Time
	streams *budget.Budget

	claims claims
}

func newGuard(label string, keys *frame.Keys, complain func(string)) *guard {
	g := &guard{complain: complain, streams: budget.New(budget.Share(16, maxStreams))}
	g.rules = frame.Rules{Label: label, Keys: keys, Claim: func(c frame.Claim) error { return g.claims.judge(c, time.Now()) }}
	return g
}

// claims judges what is said of members in memberlist's words, lest incarnations run away.
//
// A member that is suspected, or said to be dead, refutes that by an incarnation above the claim's.
// One that a forged claim has brought near 2^32 could refute nothing any longer. So a claim counts
// only where the member can have come that far since it began, and each member refutes no more than
// that: what it does not refute now comes again. It is safe for concurrent use.
type claims struct {
	self string
	most func(name string, now time.Time) int64 // the highest incarnation of a member by now; nil: any

	mu      sync.Mutex
	refuted int64 // the highest incarnation that this member has refuted: its own is one above
	began   time.Time
	count   int // since began
}

// judge returns why a claim is refused.
func (c *claims) judge(said frame.Claim, now time.Time) error {
	if c.most == nil {
		return nil
	}
	if said.Incarnation < 0 || said.Incarnation > c.most(said.Node, now) {
		return frame.ErrRunAway
	}
	if said.Node != c.self {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if said.Incarnation <= c.refuted || said.Alive && said.Incarnation == c.refuted+1 {
		return nil // nothing is counted up for that
	}
	if now.Sub(c.began) >= refuteTime {
		c.began, c.count = now, 0
	}
	if c.count++; c.count > maxRefuted {
		return errNoRoom
	}
	c.refuted = said.Incarnation
	return nil
}

// admit returns the message of a packet that has one of the pool's and nothing else, or says
// whether memberlist is to have it.
func (g *guard) admit(b []byte, from net.Addr, now time.Time) (message []byte, memberlists bool) {
	message, relays, err := g.rules.Packet(b)
	if err == nil && relays > 0 {
		if now.Sub(g.began) >= relayTime {
			g.began, g.relays = now, 0
		}
		if g.relays += relays; g.relays > maxRelays {
			err = errNoRoom
		}
	}
	if err != nil {
		g.complain(fmt.Sprintf("[ERR] memberlist: Refused a packet: %v %s", err, memberlist.LogAddress(from)))
	}
	return message, err == nil && message == nil
}

// stream reads the one message that comes on a connection before anybody else does. An answer is
// one to what this member has said.
func (g *guard) stream(conn net.Conn, answer bool) *guardedConn {
	return &guardedConn{
		Conn: conn, guard: g, answer: answer, message: g.rules.Stream(answer),
		room: g.streams.Claim(budget.HostOf(conn), func() { _ = conn.Close() }), // its reader ends
	}
}

// guardedConn reads a whole message, looks at it, and only then gives it away. It has one reader.
type guardedConn struct {
	net.Conn
	guard   *guard
	answer  bool
	message *frame.Stream
	room    *budget.Claim // beyond firstStream

	whole bool   // buf is to be given away
	buf   []byte // what has come and was not given away
	err   error  // after it
}

// Read gives away nothing before all has come. Behind the message is the end.
func (c *guardedConn) Read(p []byte) (int, error) {
	if !c.whole {
		c.whole = true
		if c.err = c.fill(); c.err != nil {
			c.buf = nil
			_ = c.Close()
		}
	}
	if len(c.buf) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		return 0, io.EOF
	}
	n := copy(p, c.buf)
	c.buf = c.buf[n:]
	return n, nil
}

// fill reads the message. What it refuses it has complained of, so that memberlist needs to say
// nothing.
func (c *guardedConn) fill() error {
	refused := func(err error) error {
		c.guard.complain(fmt.Sprintf("[ERR] memberlist: Refused a stream: %v %s", err, memberlist.LogConn(c.Conn)))
		return net.ErrClosed
	}
	c.buf = make([]byte, 0, firstStream)
	for size := 0; size == 0 || len(c.buf) < size; {
		if len(c.buf) == cap(c.buf) && !c.grow(size) {
			return refused(errNoRoom)
		}
		n, err := c.Conn.Read(c.buf[len(c.buf):cap(c.buf)])
		c.buf = c.buf[:len(c.buf)+n]
		if n > 0 && size == 0 {
			var why error
			if size, why = c.message.Len(c.buf); why == nil && size > frame.MaxStream {
				why = frame.ErrTooLong
			}
			if why != nil {
				return refused(why)
			}
		}
		switch {
		case size > 0 && len(c.buf) >= size:
		case c.room.Revoked():
			return refused(errNoRoom)
		case errors.Is(err, io.EOF) && c.answer && len(c.buf) > 0: // the other has ended, or was refused
			return io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF) && !c.answer:
			return refused(frame.ErrMalformed)
		case err != nil:
			return err
		}
		if size > 0 && len(c.buf) > size {
			c.buf = c.buf[:size]
		}
	}
	if err := c.message.Verify(c.buf); err != nil {
		return refused(err)
	}
	if !c.room.Keep() {
		return refused(errNoRoom)
	}
	return nil
}

// grow makes room for as much again as has come, but no more than the message needs.
func (c *guardedConn) grow(size int) bool {
	more := cap(c.buf)
	if size > 0 {
		more = min(more, size-len(c.buf))
	}
	if cap(c.buf)+more > frame.MaxStream+firstStream || !c.room.Grow(int64(more)) {
		return false
	}
	grown := make([]byte, len(c.buf), cap(c.buf)+more)
	copy(grown, c.buf)
	c.buf = grown
	return true
}

// Close gives back what the stream held: memberlist is done with it.
func (c *guardedConn) Close() error {
	c.room.Release()
	return c.Conn.Close()
}
