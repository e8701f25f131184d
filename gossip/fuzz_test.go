package gossip

import (
	"net/netip"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/swim"
	"github.com/dynmesh/dynmesh/internal/text"
)

// What a member says of itself when it joins is bounded and can be shown, or it is not let in.
func FuzzMember(f *testing.F) {
	at := netip.MustParseAddrPort("127.0.0.9:7946")
	i := NewIdentity()
	name := memberName(dynmesh.Observer{ID: i.ID(), Epoch: 1})
	f.Add(name, encodeMeta(i, name, at, dynmesh.Member{Role: dynmesh.RoleWorker, Service: "a:1", Version: "v1"}))
	f.Add(name, encodeMeta(i, name, at, dynmesh.Member{Role: "\x1b", Version: "\u202e"}))
	f.Add("x", []byte{0x0a, 0xff})
	f.Fuzz(func(t *testing.T, name string, meta []byte) {
		said, signature := cutSignature(meta)
		if len(said) > len(meta) || len(signature) > len(meta) {
			t.Error("the signature is longer than the metadata")
		}
		m, err := memberOf(swim.Peer{Name: name, Addr: at, Meta: meta})
		if err != nil {
			if !text.Shows(err.Error()) || len(err.Error()) > 400 {
				t.Errorf("refused with %q: no line of 400 bytes at most", err)
			}
			return
		}
		for _, s := range []string{string(m.Role), m.Service, m.Version, m.PublicKey, memberName(m.Observer)} {
			if text.Line(s, maxService) != s {
				t.Errorf("%q is no line of %d bytes at most", s, maxService)
			}
		}
		if memberName(m.Observer) != name || m.LeaseTTL < 0 || m.LeaseTTL > maxLeaseTTL {
			t.Errorf("%q became %+v", name, m.Member)
		}
	})
}
