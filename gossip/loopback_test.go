package gossip

import (
	"net/netip"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/swim"
)

// What another host has at its loopback is not looked for at one's own.
func TestServiceAtLoopback(t *testing.T) {
	here, elsewhere := netip.MustParseAddrPort("10.0.0.1:7946"), netip.MustParseAddrPort("10.0.0.2:7946")
	l := &loop{hostAddrs: hostAddrs(here.Addr())}
	for _, tt := range []struct {
		service string
		at      netip.AddrPort
		want    string
	}{
		{"127.0.0.1:8888", elsewhere, ""},
		{"localhost:8888", elsewhere, ""},
		{"[::1]:8888", elsewhere, ""},
		{"127.0.0.1:8888", here, "127.0.0.1:8888"},
		{"127.0.0.1:8888", netip.MustParseAddrPort("127.0.0.1:7946"), "127.0.0.1:8888"},
		{"10.0.0.2:8888", elsewhere, "10.0.0.2:8888"},
		{"worker-2:8888", elsewhere, "worker-2:8888"},
		{"", elsewhere, ""},
	} {
		m := &member{Member: dynmesh.Member{Service: tt.service}, peer: swim.Peer{Addr: tt.at}}
		if got := l.service(m); got != tt.want {
			t.Errorf("%q of a member at %s: got %q, want %q", tt.service, tt.at, got, tt.want)
		}
	}
}

// A ping is answered where it says, at no interface of this host's that it names.
func TestZoneOfAnotherHostIsNone(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"[fe80::1%eth0]:7946": "[fe80::1]:7946", "[::ffff:10.0.0.1%7]:7946": "[::ffff:10.0.0.1]:7946", "10.0.0.1:7946": "10.0.0.1:7946",
	} {
		if p, err := peerAt(dynmesh.Observer{ID: 1}, said); err != nil || p.Addr.String() != want {
			t.Errorf("%s: %v and %v, want %s", said, p.Addr, err, want)
		}
	}
}
