package swim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/sirupsen/logrus"
)

// void is a network of which nothing comes, and to which nothing gets.
type void struct{ closed chan struct{} }

func (v void) Listen(netip.AddrPort) (net.Listener, net.PacketConn, error) {
	return silentListener{v}, silentPackets{v}, nil
}
func (void) Dial(context.Context, string) (net.Conn, error) {
	return nil, errors.New("nobody is there")
}

type silentListener struct{ void }

func (l silentListener) Accept() (net.Conn, error) { <-l.closed; return nil, net.ErrClosed }
func (silentListener) Close() error                { return nil }
func (silentListener) Addr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7946}
}

type silentPackets struct{ void }

func (p silentPackets) ReadFrom([]byte) (int, net.Addr, error) {
	<-p.closed
	return 0, nil, net.ErrClosed
}
func (silentPackets) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }
func (silentPackets) LocalAddr() net.Addr {
	return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7946}
}
func (silentPackets) SetDeadline(time.Time) error      { return nil }
func (silentPackets) SetReadDeadline(time.Time) error  { return nil }
func (silentPackets) SetWriteDeadline(time.Time) error { return nil }
func (silentPackets) Close() error                     { return nil }

// said is a connection on which a stranger has said something, and nothing more.
type said struct {
	io.Reader
	once   sync.Once
	closed chan struct{}
}

func (*said) Write(b []byte) (int, error)      { return len(b), nil }
func (s *said) Close() error                   { s.once.Do(func() { close(s.closed) }); return nil }
func (*said) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7946} }
func (*said) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9), Port: 1} }
func (*said) SetDeadline(time.Time) error      { return nil }
func (*said) SetReadDeadline(time.Time) error  { return nil }
func (*said) SetWriteDeadline(time.Time) error { return nil }

// few is a delegate that lets few in, so that what one input leaves behind does not slow the next.
type few struct{ quiet }

func (few) Admit(p Peer) error {
	if len(p.Name) > 1 {
		return errors.New("not here")
	}
	return nil
}

// Whatever is said to a node, as a packet and as a stream, with its key and where there is none:
// memberlist, behind what is refused before it, survives it, and lets go of the connection.
func FuzzNode(f *testing.F) {
	log := logrus.New()
	log.SetOutput(io.Discard)
	var nodes []*attacked
	for _, key := range [][]byte{nil, bytes.Repeat([]byte{7}, 32)} {
		a := &attacked{counted: &counted{rejected: make(map[string]int)}, key: key}
		closed := make(chan struct{})
		var err error
		a.Node, err = Listen(Config{
			Name: "fuzzed", Meta: func(netip.AddrPort) []byte { return []byte("role") }, Bind: "127.0.0.1:0", Label: "dynmesh", Keyring: ringOf(f, key),
			Delegate: few{quiet{make(chan string)}}, Counters: a.counted, Log: logrus.NewEntry(log), Network: void{closed},
		})
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { close(closed); _ = a.Shutdown() })
		if err := a.Start(); err != nil {
			f.Fatal(err)
		}
		nodes = append(nodes, a)
	}
	for _, b := range [][]byte{
		{}, {0, 0x80}, compressed(100), announced(3), announced(1 << 20), append([]byte{8, 0x81, 0xaa}, "UserMsgLen\x03abc"...),
		append([]byte{7, 2, 0, 2, 0, 2, 1, 0x80, 8, 1}, "rest"...),
		append([]byte{4, 0x86, 0xab}, "Incarnation\x01\xa4Node\xa1a\xa4Addr\xa4\x0a\x00\x00\x01\xa4Port\x05\xa4Meta\xa4role\xa3Vsn\xa6\x01\x05\x02\x02\x02\x02"...),
		append([]byte{5, 0x83, 0xab}, "Incarnation\x01\xa4Node\xa1a\xa4From\xa1b"...),
		append([]byte{3, 0x83, 0xab}, "Incarnation\x01\xa4Node\xa1a\xa4From\xa1b"...),
	} {
		f.Add(b)
	}
	from := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9), Port: 1}
	f.Fuzz(func(t *testing.T, plain []byte) {
		for _, a := range nodes {
			// The second one is taken once the first has been looked at.
			for _, packet := range [][]byte{a.packet(plain), label()} {
				if _, memberlists := a.transport.guard.admit(packet, from, time.Now()); memberlists {
					a.transport.packetCh <- &memberlist.Packet{Buf: slices.Clone(packet), From: from, Timestamp: time.Now()}
				}
			}
			conn := &said{Reader: bytes.NewReader(a.stream(plain)), closed: make(chan struct{})}
			a.transport.streamCh <- a.transport.guard.stream(conn, false)
			select {
			case <-conn.closed:
			case <-time.After(30 * time.Second):
				t.Fatal("the stream is held though nothing more can come")
			}
		}
	})
}
