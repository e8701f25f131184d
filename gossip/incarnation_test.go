package gossip

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// says is what somebody says of a member that is alive, with what that has signed of itself.
func says(incarnation uint32, node string, addr netip.AddrPort, meta []byte) []byte {
	text := func(s string) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{0xda}, uint16(len(s))), s...)
	}
	number := func(n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{0xce}, n) }
	return slices.Concat([]byte{memberlistByte, 7}, []byte("dynmesh"), []byte{aliveMessage, 0x86},
		text("Incarnation"), number(incarnation), text("Node"), text(node), text("Addr"), text(string(addr.Addr().AsSlice())),
		text("Port"), number(uint32(addr.Port())), text("Meta"), text(string(meta)), text("Vsn"), text("\x01\x05\x02\x02\x02\x02"))
}

const aliveMessage = 4

// A member refutes what others claim of it by counting its incarnation up, which ends at 2^32. No
// claim, however high, and however many of them, brings it there, or to where others believe it no
// longer.
func TestIncarnationsDoNotRunAway(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(4, nil)
		m.joined(peers...)
		m.pass(5 * time.Second)
		victim := peers[1]
		name, from := memberName(victim.Self()), netip.MustParseAddrPort("10.0.0.99:1")
		meta := encodeMeta(identityOf(2), name, victim.node.Addr(), dynmesh.Member{Role: dynmesh.RoleWorker})
		claim := func(kind int, incarnation uint32) []byte {
			switch kind {
			case 0:
				return claims(suspectMessage, incarnation, name, "1-1")
			case 1:
				return claims(deadMessage, incarnation, name, name)
			}
			return says(incarnation, name, victim.node.Addr(), meta)
		}
		refuted := func(what string) {
			m.within(5*time.Second, "alive for all: "+what, func() bool {
				return !slices.ContainsFunc(peers, func(p *peer) bool { return p.state(2) != dynmesh.Alive })
			})
		}
		for kind, what := range []string{"suspected", "dead", "alive"} {
			for _, high := range []uint32{math.MaxUint32, math.MaxUint32 - 1, 1 << 31, 1 << 20} {
				for _, p := range peers {
					m.inject(from, p.node.Addr(), claim(kind, high))
				}
				m.pass(300 * time.Millisecond)
				refuted(what)
			}
			// As high as may be, and then one after the other.
			for n := range 3000 {
				for _, p := range peers {
					m.inject(from, p.node.Addr(), claim(kind, uint32(60000+3000*kind+n)))
				}
				if n%50 == 0 {
					m.pass(10 * time.Millisecond)
				}
			}
			m.pass(5 * time.Second)
			refuted(what + ", very often")
		}
		if n := rejectedBy(peers[0])["incarnation"]; n == 0 {
			t.Errorf("rejected are %v", rejectedBy(peers[0]))
		}
		if n := rejectedBy(victim)["overload"]; n == 0 {
			t.Errorf("the victim has refuted all of %v", rejectedBy(victim))
		}
		for _, p := range peers {
			if strings.Contains(p.log.String(), "level=error") {
				t.Errorf("%s takes that for an error:\n%s", p.Self().ID, p.log)
			}
		}
		m.kill(victim)
		m.within(time.Minute, "dead for all others", func() bool {
			return !slices.ContainsFunc(peers, func(p *peer) bool { return p != victim && p.state(2) == dynmesh.Alive })
		})
	})
}

func TestHighestIncarnations(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	year := 365 * 24 * time.Hour
	for name, want := range map[string]int64{
		memberName(dynmesh.Observer{ID: 1, Epoch: uint64(now.UnixMilli())}):                         1 << 16,
		memberName(dynmesh.Observer{ID: 1, Epoch: math.MaxUint64}):                                  1 << 16,
		memberName(dynmesh.Observer{ID: 1, Epoch: uint64(now.Add(-100 * time.Second).UnixMilli())}): 1<<16 + 4000,
		"nobody": 1 << 16,
	} {
		if got := maxIncarnation(name, now); got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
	if got := maxIncarnation(memberName(dynmesh.Observer{ID: 1, Epoch: uint64(now.Add(-3 * year).UnixMilli())}), now); got >= math.MaxUint32 {
		t.Errorf("after three years: %d", got)
	}
}
