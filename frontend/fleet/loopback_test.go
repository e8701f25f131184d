package fleet

import (
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
)

// A worker that has registered 127.0.0.1 can be used on its own host only, and people are told so
// where that is another one than the frontend's.
func TestLoopbackOfAnotherHost(t *testing.T) {
	for name, tt := range map[string]struct {
		transport, host, self string
		told                  bool
	}{
		"on another host":           {"http://127.0.0.1:9000/v1/rpc/g", "host-a", "host-f", true},
		"by name":                   {"http://localhost:9000/v1/rpc/g", "host-a", "host-f", true},
		"of IPv6":                   {"http://[::1]:9000/v1/rpc/g", "host-a", "host-f", true},
		"on this host":              {"http://127.0.0.1:9000/v1/rpc/g", "host-f", "host-f", false},
		"of a host that is unknown": {"http://127.0.0.1:9000/v1/rpc/g", "", "host-f", false},
		"seen from such a host":     {"http://127.0.0.1:9000/v1/rpc/g", "host-a", "", false},
		"no loopback":               {"http://10.127.0.1:9000/v1/rpc/g", "host-a", "host-f", false},
		"localhost, loudly":         {"http://LOCALHOST:9000/v1/rpc/g", "host-a", "host-f", true},
		"an address of IPv6":        {"http://[0:0:0:0:0:0:0:1]:9000/v1/rpc/g", "host-a", "host-f", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := rigOf(t, Config{Gossip: true, Self: self, Host: tt.self})
			a := key("b", 0xa)
			in := put(a)
			in.Transport = dynmesh.HTTPTransport(tt.transport)
			u := synced(in)
			u.Members = []dynmesh.RegisteredMember{registered(a.ID, tt.host)}
			r.discover(u)
			r.member(a.ID, dynmesh.Alive)
			r.observe(r.canary(a, true))
			r.want(a, dynmesh.Ready, "canaries have passed")
			if told := strings.Contains(strings.Join(r.reasons[a], ";"), "which is loopback, from another host"); told != tt.told {
				t.Errorf("got %q", r.reasons[a])
			}
		})
	}
}
