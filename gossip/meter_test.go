package gossip

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
)

// use is what bytes are sent for.
type use int

const (
	heartbeats use = iota // pings of paths, and their answers
	probes                // memberlist's
	hints
	news        // observations, and memberlist's own of its members
	pushPulls   // memberlist's exchange of all members, with our digest
	comparisons // what follows from a hint: digests, summaries, and what is missing
	others      // connections for anything else
	uses
)

// meter counts what all members send, by what it is for. The pools' counters cannot tell: with a
// key, what their transport sees is encrypted. So it stands in front of a network on which there is
// none.
type meter [uses]atomic.Int64

// metered is a host that is metered.
type metered struct {
	*host
	meter *meter
}

func (h metered) Listen(bind netip.AddrPort) (net.Listener, net.PacketConn, error) {
	l, p, err := h.host.Listen(bind)
	return l, meteredPackets{p, h.meter}, err
}

// dial meters both directions of a connection, so that its other end need not.
func (h metered) Dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := h.host.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &meteredConn{Conn: c, meter: h.meter, use: others}, nil
}

// memberlist's types of messages.
const (
	mlPing = iota
	mlIndirectPing
	mlAck
	_
	_
	_
	mlPushPull
	_
	mlUser
	_
	_
	mlNack
	mlCRC
)

type meteredPackets struct {
	net.PacketConn
	meter *meter
}

func (p meteredPackets) WriteTo(b []byte, addr net.Addr) (int, error) {
	p.meter[packetUse(b)].Add(int64(len(b)))
	return p.PacketConn.WriteTo(b, addr)
}

func packetUse(b []byte) use {
	b = b[2+int(b[1]):] // memberlist's label
	if b[0] == mlCRC {
		b = b[5:]
	}
	switch b[0] {
	case mlPing, mlIndirectPing, mlAck, mlNack:
		return probes
	case mlUser:
		switch b[2] {
		case typePing, typePong:
			return heartbeats
		case typeDigestProbe:
			return hints
		}
	}
	return news
}

type meteredConn struct {
	net.Conn
	meter *meter
	head  []byte // what was written before its use is known
	use   use
	known bool
}

func (c *meteredConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	switch {
	case c.known:
		c.meter[c.use].Add(int64(n))
	case n > 0:
		c.head = append(c.head, b[:n]...)
		c.sort()
	}
	return n, err
}

func (c *meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.meter[c.use].Add(int64(n))
	return n, err
}

// sort finds out what the connection is for. Tripwires have no label, and say nothing that counts.
func (c *meteredConn) sort() {
	if c.head[0] != memberlistByte || len(c.head) < 2 || len(c.head) <= 2+int(c.head[1]) {
		return
	}
	switch c.head[2+int(c.head[1])] {
	case mlPushPull:
		c.use = pushPulls
	case mlUser:
		c.use = comparisons
	}
	c.known = true
	c.meter[c.use].Add(int64(len(c.head)))
	c.head = nil
}
