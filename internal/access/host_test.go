package access_test

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/internal/access"
)

func TestHosts(t *testing.T) {
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) net.Addr {
		addr, err := net.ResolveTCPAddr("tcp", s)
		if err != nil {
			t.Fatal(err)
		}
		return addr
	}
	loopback := access.NewHosts(at("127.0.0.1:8000"))
	anywhere := access.NewHosts(at("0.0.0.0:8000"))
	named := access.NewHosts(at("[::]:8000"), "dynmesh.example", "Mesh.")
	for _, tt := range []struct {
		host                      string
		loopback, anywhere, named bool
	}{
		{"", true, true, true},
		{"localhost", true, true, true}, {"localhost:8000", true, true, true}, {"LOCALHOST.:8000", true, true, true}, {"a.localhost", true, true, true},
		{"127.0.0.1:8000", true, true, true}, {"127.9.9.9", true, true, true}, {"[::1]:8000", true, true, true}, {"[::1]", true, true, true}, {"::1", true, true, true},
		{"10.0.0.1:8000", true, true, true}, {"[fe80::1%25eth0]:80", true, true, true},
		{own, true, true, true}, {strings.ToUpper(own) + ":80", true, true, true},
		{"evil.example", false, true, false}, {"evil.example:8000", false, true, false}, {"127.0.0.1.evil.example:8000", false, true, false},
		{"localhost.evil.example", false, true, false}, {"notlocalhost", true, true, false}, {"0x7f.1", false, true, false}, {"2130706433", true, true, false},
		{"dynmesh.example:443", false, true, true}, {"DYNMESH.example.", false, true, true}, {"mesh", true, true, true}, {"x.dynmesh.example", false, true, false},
		{"engines", true, true, false}, {"Engines_2.:80", true, true, false}, {"evil%00", false, true, false}, {".", false, true, false},
		{"[", false, true, false}, {":", false, true, false}, {"a:b:c", false, true, false},
	} {
		for name, got := range map[string][2]bool{
			"at 127.0.0.1": {loopback.Admits(tt.host), tt.loopback}, "at 0.0.0.0": {anywhere.Admits(tt.host), tt.anywhere}, "with names": {named.Admits(tt.host), tt.named},
		} {
			if got[0] != got[1] {
				t.Errorf("Host %q %s: admitted %v, want %v", tt.host, name, got[0], got[1])
			}
		}
	}
	if !(access.Hosts{}).Admits("evil.example") {
		t.Error("the zero value refuses something")
	}
	if of, with := loopback.Misdirected("a.b"), named.Misdirected("a.b"); !strings.Contains(of, "without a dot") || strings.Contains(with, "without a dot") {
		t.Errorf("said: %q, and with names %q", of, with)
	}
	if said := loopback.Misdirected("evil\x1b[31m\u202e" + strings.Repeat("x", 500)); len(said) > 300 || strings.ContainsAny(said, "\x1b\u202e") {
		t.Errorf("said: %q", said)
	}
}
