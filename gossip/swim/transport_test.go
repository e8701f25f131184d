package swim

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// stuck is a network in which everybody takes connections, and nothing from them.
type stuck struct{ Sockets }

func (stuck) Dial(context.Context, string) (net.Conn, error) {
	mine, _ := net.Pipe()
	return mine, nil
}

// A process that is stopped takes connections, and nothing from them: the sender must not stay
// there. memberlist sets no deadline where it sends over TCP, and forgets connections to which it
// cannot write.
func TestWritingToAStoppedMemberEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, err := newTransport(stuck{}, "127.0.0.1:0", "", uncounted{}, newGuard("dynmesh", nil, func(string) {}), quiet{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tr.Shutdown() }()
		begun := time.Now()
		conn, err := tr.DialTimeout(netip.AddrPortFrom(netip.IPv4Unspecified(), 1).String(), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if n := tr.conns(); n.Total != 1 {
			t.Errorf("%+v are known, want one", n)
		}
		if _, err := conn.Write([]byte("x")); err == nil || time.Since(begun) != 10*time.Second {
			t.Errorf("writing ended with %v after %v", err, time.Since(begun))
		}
		if n := tr.conns(); n.Total != 0 {
			t.Errorf("%+v: a connection that cannot be written is kept", n)
		}
	})
}
