package gossip

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// memberlist's messages about a member, and what they are called in its own words.
const (
	suspectMessage = 3
	deadMessage    = 5
)

// claims is what somebody says of a member, as memberlist's own messages do, which nobody signs.
func claims(typ byte, incarnation uint32, node, from string) []byte {
	text := func(s string) []byte { return append([]byte{0xd9, byte(len(s))}, s...) }
	number := binary.BigEndian.AppendUint32([]byte{0xce}, incarnation)
	return slices.Concat([]byte{memberlistByte, 7}, []byte("dynmesh"), []byte{typ, 0x83},
		text("Incarnation"), number, text("Node"), text(node), text("From"), text(from))
}

// Whoever says, in memberlist's words, that a member is dead, or has left, is refuted by it at
// once; and meanwhile those who watch it take nothing back, so that no frontend calls it
// unreachable.
func TestForgedDeathIsRefuted(t *testing.T) {
	t.Parallel()
	for name, claim := range map[string]struct {
		typ  byte
		from string
	}{"suspected": {suspectMessage, "1-1"}, "dead": {deadMessage, "1-1"}, "left": {deadMessage, ""}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(m *mesh) {
				_, peers := m.fleet(4)
				defer m.endAll()
				m.joined(peers...)
				m.pass(10 * time.Second)
				victim := peers[1]
				lies := func(incarnation uint32) {
					who := memberName(victim.Self())
					from := claim.from
					if from == "" {
						from = who
					}
					for _, p := range peers {
						if p != victim {
							m.inject(netip.MustParseAddrPort("10.0.0.99:1"), p.node.Addr(), claims(claim.typ, incarnation, who, from))
						}
					}
				}
				believed := 0
				for n := range uint32(5) {
					lies(1 + n)
					m.pass(20 * time.Millisecond)
					for _, p := range peers {
						p.read()
						if s := p.members[victim.Self().ID].State; s == dynmesh.Left {
							t.Fatalf("%s believes that it has left", p.Self().ID)
						} else if s == dynmesh.Dead {
							believed++
						}
						for key, o := range p.paths {
							if key.Subject.ID == victim.Self().ID && o.Finding == dynmesh.Fail {
								t.Fatalf("%s says that it cannot reach it: %+v", key.Observer.ID, o)
							}
						}
					}
					// Rumours miss a member now and then: members compare whom they know every 5 s.
					m.within(15*time.Second, "alive for all", func() bool {
						return !slices.ContainsFunc(peers, func(p *peer) bool { return p.state(victim.Self().ID) != dynmesh.Alive })
					})
					watchers := 0
					for _, o := range peers[0].paths {
						if o.Subject.ID == victim.Self().ID && o.Finding == dynmesh.Pass {
							watchers++
						}
					}
					if watchers == 0 {
						t.Fatal("nobody watches it any longer")
					}
				}
				if claim.typ == deadMessage && believed == 0 {
					t.Error("nobody has believed it for a moment: the claims do not try this")
				}
				if strings.Contains(victim.log.String(), "level=error") {
					t.Errorf("it takes that for an error:\n%s", victim.log)
				}
			})
		})
	}
}
