package gossip

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/swim"
)

// The first bytes of connections and packets, as memberlist and package swim have them.
const (
	memberlistByte = 244
	tripwireByte   = 0xd7
)

// rejectedBy is what a pool has counted as rejected.
func rejectedBy(p *peer) map[string]float64 { return counts(p.metrics.rejected, "reason") }

func counts(c prometheus.Collector, label string) map[string]float64 {
	ch := make(chan prometheus.Metric, 100)
	c.Collect(ch)
	close(ch)
	all := make(map[string]float64)
	for metric := range ch {
		var m dto.Metric
		if metric.Write(&m) == nil {
			for _, l := range m.Label {
				if l.GetName() == label {
					all[l.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	return all
}

// believed is all that a peer believes, but for what changes by itself.
func believed(p *peer) (map[string]dynmesh.MemberState, map[dynmesh.ObservationKey]dynmesh.Observation) {
	p.read()
	states := make(map[string]dynmesh.MemberState)
	for _, m := range p.members {
		states[memberName(m.Observer)] = m.State
	}
	all := maps.Clone(p.observations)
	maps.Copy(all, p.paths)
	return states, all
}

// spied is a packet that somebody has recorded.
type spied struct {
	from, to netip.AddrPort
	b        []byte
}

// attacked is a mesh of which somebody has recorded all packets.
type attacked struct {
	*mesh
	sniffed []spied
}

// untouched runs an attack on a mesh of three, and holds that nobody believes anything else
// afterwards.
func untouched(t *testing.T, keyed bool, attack func(m *attacked, peers []*peer)) (rejected map[string]float64) {
	t.Helper()
	inBubble(t, 1, func(m *mesh) {
		a := &attacked{mesh: m}
		m.set(func() {
			m.sniff = func(from, to netip.AddrPort, b []byte) { a.sniffed = append(a.sniffed, spied{from, to, b}) }
		})
		peers := m.starts(4, func(c *Config) {
			if keyed {
				c.Keyring, _ = NewKeyring(key('a'))
			}
		})
		m.joined(peers...)
		peers[1].Observe(canaryOf(2, "generate", dynmesh.Fail))
		m.pass(10 * time.Second)
		peers[1].Observe(canaryOf(2, "generate", dynmesh.Pass))
		peers[3].end()
		<-peers[3].ended
		peers = peers[:3]
		m.pass(40 * time.Second) // memberlist itself forgets who left after 30 s
		m.set(func() { m.sniff = nil })
		states, all := believed(peers[0])
		attack(a, peers)
		m.pass(30 * time.Second)
		for _, p := range peers {
			s, o := believed(p)
			if !maps.Equal(s, states) {
				t.Errorf("%s believes of members: %v, before: %v", p.Self().ID, s, states)
			}
			if !maps.Equal(o, all) {
				t.Errorf("%s believes %v, before: %v", p.Self().ID, o, all)
			}
			if p.health.Score != 0 {
				t.Errorf("health score of %s is %d", p.Self().ID, p.health.Score)
			}
		}
		rejected = rejectedBy(peers[0])
		lines := strings.Count(peers[0].log.String(), "level=warning") + strings.Count(peers[0].log.String(), "level=error")
		if lines > 8 {
			t.Errorf("the attack is worth %d lines of log:\n%s", lines, peers[0].log)
		}
	})
	return rejected
}

func TestMemberWithoutTheKeyGetsInNowhere(t *testing.T) {
	t.Parallel()
	rejected := untouched(t, true, func(m *attacked, peers []*peer) {
		none := m.start(10, nil)
		other := m.start(11, func(c *Config) { c.Keyring, _ = NewKeyring(key('x')) })
		none.Observe(canaryOf(10, "generate", dynmesh.Pass))
		m.pass(time.Minute)
		if none.alive() != 1 || other.alive() != 1 {
			t.Error("an intruder sees members")
		}
	})
	if rejected["key"] == 0 || rejected["plain"] == 0 {
		t.Errorf("rejected are %v", rejected)
	}
}

func TestMemberWithAKeyGetsInNowhereWithout(t *testing.T) {
	t.Parallel()
	rejected := untouched(t, false, func(m *attacked, peers []*peer) {
		m.start(10, func(c *Config) { c.Keyring, _ = NewKeyring(key('x')) })
		m.pass(time.Minute)
	})
	if rejected["encrypted"] == 0 {
		t.Errorf("rejected are %v", rejected)
	}
}

func TestMemberOfAnotherLabelGetsInNowhere(t *testing.T) {
	t.Parallel()
	for _, keyed := range []bool{true, false} {
		rejected := untouched(t, keyed, func(m *attacked, peers []*peer) {
			other := m.start(10, func(c *Config) {
				c.Label = "another"
				if keyed {
					c.Keyring, _ = NewKeyring(key('a'))
				}
			})
			m.pass(time.Minute)
			if other.alive() != 1 {
				t.Error("it sees members")
			}
		})
		if rejected["label"] == 0 {
			t.Errorf("rejected are %v", rejected)
		}
	}
}

func TestGarbageHasNoEffect(t *testing.T) {
	t.Parallel()
	for _, keyed := range []bool{true, false} {
		rejected := untouched(t, keyed, func(m *attacked, peers []*peer) {
			rng := rand.New(rand.NewPCG(1, 1))
			from := netip.MustParseAddrPort("10.0.0.99:1")
			to := peers[0].node.Addr()
			label := append([]byte{memberlistByte, 7}, "dynmesh"...)
			for i := range 2000 {
				b := make([]byte, rng.IntN(1500))
				if i%20 == 0 {
					b = make([]byte, 60000)
				}
				for j := range b {
					b[j] = byte(rng.Uint32())
				}
				if i%2 == 0 {
					b = slices.Concat(label, b)
				}
				if keyed || len(b) < 10 || b[0] != memberlistByte || b[9] != 4 && b[9] != 3 && b[9] != 5 { // a lucky hit is no garbage
					m.inject(from, to, b)
				}
				if i%50 == 0 {
					m.pass(10 * time.Millisecond)
				}
			}
			intruder := m.host(99)
			for i := range 100 {
				conn, err := intruder.Dial(m.Context(), to.String())
				if err != nil {
					t.Error(err)
					continue
				}
				b := make([]byte, 4096)
				for j := range b {
					b[j] = byte(rng.Uint32())
				}
				switch i % 3 {
				case 0:
					b = slices.Concat(label, b)
				case 1:
					b[0] = 7
				}
				_, _ = conn.Write(b)
				_ = conn.Close()
			}
		})
		if rejected["malformed"]+rejected["key"]+rejected["plain"] == 0 || rejected["label"] == 0 || rejected["unknown_stream"] == 0 {
			t.Errorf("rejected are %v", rejected)
		}
	}
}

// Every packet since the beginning comes again, several times, when it is old: among them those in
// which a member that has left since said that it was there.
func TestReplayHasNoEffect(t *testing.T) {
	t.Parallel()
	for _, keyed := range []bool{true, false} {
		untouched(t, keyed, func(m *attacked, peers []*peer) {
			for range 3 {
				for i, c := range m.sniffed {
					m.inject(c.from, c.to, c.b)
					if i%5 == 0 {
						m.pass(10 * time.Millisecond)
					}
					if p := peers[i%len(peers)]; p.state(4) == dynmesh.Alive {
						t.Fatalf("%s believes that the member that left is alive", p.Self().ID)
					}
				}
				m.pass(30 * time.Second)
			}
		})
	}
}

// One dies without a word. Once memberlist has forgotten that, and later all members have, every
// packet comes again in which it said that it was there, and what it found of others. It stays as
// dead as it was, and what it said is nowhere.
func TestReplayBringsNobodyBack(t *testing.T) {
	t.Parallel()
	for _, keyed := range []bool{true, false} {
		inBubble(t, 1, func(m *mesh) {
			var sniffed []spied
			m.set(func() {
				m.sniff = func(from, to netip.AddrPort, b []byte) { sniffed = append(sniffed, spied{from, to, b}) }
			})
			peers := m.starts(4, func(c *Config) {
				if keyed {
					c.Keyring, _ = NewKeyring(key('a'))
				}
			})
			m.joined(peers...)
			peers[3].Observe(dynmesh.Report{
				Kind: dynmesh.KindPath, Finding: dynmesh.Fail, Reason: dynmesh.ReasonTimeout, Subject: dynmesh.Subject{ID: 2},
			})
			m.pass(10 * time.Second)
			m.set(func() { m.sniff = nil })
			m.kill(peers[3])
			peers = peers[:3]
			for _, after := range []time.Duration{40 * time.Second, 5 * time.Minute, 20 * time.Minute} {
				m.pass(after)
				for i, c := range sniffed {
					m.inject(c.from, c.to, c.b)
					if i%5 == 0 {
						m.pass(10 * time.Millisecond)
					}
					p := peers[i%len(peers)]
					if s := p.state(4); s == dynmesh.Alive || s == dynmesh.Suspect {
						t.Fatalf("keyed %v, %v later: %s believes that the member that died is %s", keyed, after, p.Self().ID, s)
					}
				}
				for _, p := range peers {
					p.read()
					for k := range p.paths {
						if k.Observer.ID == 4 && p.state(4) == "" {
							t.Errorf("keyed %v, %v later: %s holds what it said: %v", keyed, after, p.Self().ID, k)
						}
					}
				}
				m.pass(30 * time.Second)
			}
		})
	}
}

// memberlist keeps whoever signs for itself, so there is a bound on how many do. Those who are in
// stay in, and who comes later gets in when somebody has gone.
func TestMembersAreBounded(t *testing.T) {
	p, err := newPool(Config{Role: dynmesh.RoleFrontend, Identity: identityOf(1), Bind: "10.0.0.1:1"}, newFabric(1).host(1), belongsTo)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	x := p.exchange
	x.most = 100
	at := netip.MustParseAddrPort("10.0.0.2:7946")
	join := func(id dynmesh.InstanceID) (swim.Peer, error) {
		name := memberName(dynmesh.Observer{ID: id, Epoch: 1})
		peer := peerOf(name, at, encodeMeta(identityOf(id), name, at, dynmesh.Member{Role: dynmesh.RoleWorker}))
		err := x.Admit(peer)
		if err == nil {
			x.PeerChanged(peer, true)
		}
		return peer, err
	}
	var first swim.Peer
	for id := range dynmesh.InstanceID(300) {
		peer, err := join(10 + id)
		if id == 0 {
			first = peer
		}
		if want := id >= 100; (err != nil) != want {
			t.Fatalf("number %d: %v", id, err)
		}
	}
	if err := x.Admit(first); err != nil {
		t.Errorf("one that is in: %v", err)
	}
	x.PeerChanged(first, false)
	if _, err := join(500); err != nil {
		t.Errorf("when there is room: %v", err)
	}
	if n := rejectedBy(&peer{Pool: p})["full"]; n != 200 {
		t.Errorf("%v are counted", n)
	}
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(2, nil)
		m.joined(peers...)
		intruder := m.host(99)
		for i := range swim.MaxInbound + swim.MaxTripwires + 50 {
			conn, err := intruder.Dial(m.Context(), peers[0].Addr())
			if err != nil {
				t.Fatal(err)
			}
			if i < swim.MaxTripwires+10 {
				_, _ = conn.Write([]byte{tripwireByte})
			}
			if i%10 == 0 {
				m.pass(time.Millisecond)
			}
		}
		m.pass(time.Second)
		if r := rejectedBy(peers[0]); r["too_many_streams"] == 0 || r["too_many_tripwires"] == 0 {
			t.Errorf("rejected are %v", r)
		}
		m.pass(time.Minute) // those that say nothing are closed
		if c := peers[0].node.Conns(); c.Inbound > 2 || c.Tripwires > swim.MaxTripwires || c.Total > c.Inbound+c.Tripwires+5 {
			t.Errorf("connections that are held: %+v", c)
		}
		if peers[1].alive() != 2 {
			t.Error("the members do not see each other any longer")
		}
	})
}
