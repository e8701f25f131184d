package gossip

import (
	"crypto/ed25519"
	"errors"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/identity"
	"github.com/dynmesh/dynmesh/gossip/table"
)

const userMessage = 8 // memberlist's

// forger is somebody with a key of his own, who reaches the port.
func forger() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat("f", ed25519.SeedSize)))
}

// showing is a forger who shows the victim's key.
type showing struct {
	keys
	public []byte
}

func (s showing) Public() []byte { return s.public }

// sends injects a message of ours as memberlist's packets carry it.
func (m *attacked) sends(to *peer, message []byte) {
	b := slices.Concat([]byte{memberlistByte, 7}, []byte("dynmesh"), []byte{userMessage}, message)
	m.inject(netip.MustParseAddrPort("10.0.0.99:1"), to.node.Addr(), b)
}

// Without a key, and on the network of a mesh, one can say what one likes, and it changes nothing:
// neither of those in whose names it is said nor of anybody else.
func TestForgedPacketsChangeNothing(t *testing.T) {
	t.Parallel()
	untouched(t, false, func(m *attacked, peers []*peer) {
		victim := peers[1].Self()
		states, before := believed(peers[0])
		lie := func(epoch uint64, said ...dynmesh.Report) {
			mine := keys{identity.Of(victim.ID, forger()), identity.NewVerifier(belongsTo)}
			for _, signer := range []table.Keys{mine, showing{mine, identityOf(victim.ID).Public()}} {
				tb := table.New(dynmesh.Observer{ID: victim.ID, Epoch: epoch}, signer)
				for range 50 { // later than all that the victim has said
					if _, err := tb.Observe(canaryOf(victim.ID, "other", dynmesh.Pass)); err != nil {
						t.Fatal(err)
					}
					tb.Withdraw(canaryOf(victim.ID, "other", dynmesh.Pass).Subject)
				}
				for _, r := range said {
					changes, err := tb.Observe(r)
					if err != nil {
						t.Fatal(err)
					}
					for _, p := range peers {
						m.sends(p, table.Packets(changes.Entries)[0])
					}
					m.pass(50 * time.Millisecond)
				}
				for _, p := range peers {
					for _, b := range everythingOf(tb) {
						m.sends(p, b)
					}
				}
			}
		}
		lie(victim.Epoch, canaryOf(2, "generate", dynmesh.Fail), canaryOf(2, "generate", dynmesh.Pass), canaryOf(2, "generate", dynmesh.Fail))
		lie(victim.Epoch, dynmesh.Report{Subject: dynmesh.Subject{ID: 2}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true})
		lie(victim.Epoch, dynmesh.Report{Subject: dynmesh.Subject{ID: 1}, Kind: dynmesh.KindPath, Finding: dynmesh.Fail, Reason: dynmesh.ReasonRefused})
		lie(victim.Epoch + 1e9)
		lie(math.MaxUint64, canaryOf(2, "generate", dynmesh.Fail))
		m.pass(2 * time.Second)
		for _, p := range peers {
			if s, o := believed(p); !maps.Equal(s, states) || !maps.Equal(o, before) {
				t.Errorf("%s believes %v, %v, before: %v, %v", p.Self().ID, s, o, states, before)
			}
			if p.health.Forged == 0 || p.health.Impersonated != 2 {
				t.Errorf("%s knows of %d forgeries, in the name of %s", p.Self().ID, p.health.Forged, p.health.Impersonated)
			}
			word := "Somebody speaks in another member's name"
			if p.Self() == victim {
				word = "Somebody speaks in this member's name"
			}
			if n := strings.Count(p.log.String(), word); n != 1 {
				t.Errorf("%s says %d times that %s", p.Self().ID, n, word)
			}
		}
		m.pass(rememberForgery + time.Minute)
		if peers[0].read(); peers[0].health.Forged != 0 {
			t.Error("a forgery is shown for ever")
		}
	})
}

// Whoever runs a member of its own under another's ID, in a later life, is let in nowhere: its key
// is not the one that the ID is made of.
func TestNobodyJoinsAsAnother(t *testing.T) {
	t.Parallel()
	for _, keyed := range []bool{false, true} {
		rejected := untouched(t, keyed, func(m *attacked, peers []*peer) {
			m.belongs = func(dynmesh.InstanceID, []byte) bool { return true } // it believes itself
			p := m.start(10, func(c *Config) {
				c.Identity = identity.Of(2, forger())
				if keyed {
					c.Keyring, _ = NewKeyring(key('a'))
				}
			})
			p.Observe(canaryOf(2, "generate", dynmesh.Fail))
			m.pass(20 * time.Second)
			if !strings.Contains(peers[0].log.String(), "Somebody speaks in another member's name") {
				t.Errorf("who was to let it in says nothing:\n%s", peers[0].log)
			}
		})
		if rejected["forged"] == 0 {
			t.Errorf("keyed %v: rejected are %v", keyed, rejected)
		}
	}
}

// What a member signs of itself says where it is: nobody has others look for it elsewhere.
func TestAddressOfAnotherIsSigned(t *testing.T) {
	m := dynmesh.Member{Role: dynmesh.RoleWorker, Service: "10.0.0.1:8000"}
	at := netip.MustParseAddrPort("10.0.0.1:7946")
	good := peerOf("1-1", at, encodeMeta(identityOf(1), "1-1", at, m))
	for name, c := range map[string]struct {
		name string
		addr netip.AddrPort
		meta []byte
		want error
	}{
		"as it says":        {good.Name, at, good.Meta, nil},
		"another port":      {good.Name, netip.MustParseAddrPort("10.0.0.1:7947"), good.Meta, errForged},
		"another host":      {good.Name, netip.MustParseAddrPort("10.0.0.2:7946"), good.Meta, errForged},
		"another life":      {"1-2", at, good.Meta, errForged},
		"another member":    {"2-1", at, good.Meta, errForged},
		"another service":   {good.Name, at, []byte(strings.Replace(string(good.Meta), ":8000", ":8001", 1)), errForged},
		"another's key":     {good.Name, at, encodeMeta(identity.Of(1, forger()), "1-1", at, m), errForged},
		"without signature": {good.Name, at, func() []byte { said, _ := cutSignature(good.Meta); return said }(), errForged},
	} {
		for _, known := range []bool{false, true} {
			x := newAdmission(belongsTo)
			check := func(name string, addr netip.AddrPort, meta []byte) error {
				p := peerOf(name, addr, meta)
				m, err := memberOf(p)
				if err != nil {
					t.Fatal(err)
				}
				return x.verify(p, m)
			}
			if known && check(good.Name, at, good.Meta) != nil {
				t.Fatal("its own word is refused")
			}
			if err := check(c.name, c.addr, c.meta); !errors.Is(err, c.want) {
				t.Errorf("%s, known %v: got %v, want %v", name, known, err, c.want)
			}
		}
	}
}

// A ping that is to end a suspicion is answered by whoever got it: an answer to none ends nothing.
func TestForgedPongEndsNoSuspicion(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(3, nil)
		m.joined(peers...)
		m.pass(5 * time.Second)
		m.set(func() { peers[2].host.gone = true })
		m.within(20*time.Second, "suspected", func() bool { return peers[0].state(3) == dynmesh.Suspect })
		for nonce := range uint64(3) {
			peers[0].inbox.message(message{typ: typePong, from: peers[2].Self(), nonce: nonce}.encode())
		}
		m.pass(10 * time.Millisecond)
		if s := peers[0].state(3); s == dynmesh.Alive {
			t.Error("a forged answer has ended the suspicion")
		}
		m.set(func() { peers[2].host.gone = false })
	})
}
