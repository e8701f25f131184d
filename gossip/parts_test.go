package gossip

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
)

func TestNodeNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := dynmesh.Observer{
			ID: dynmesh.InstanceID(rapid.Uint64Min(1).Draw(t, "id")), Epoch: rapid.Uint64().Draw(t, "epoch"),
		}
		if got, err := parseName(memberName(o)); err != nil || got != o {
			t.Fatalf("%s is read as %v, %v", memberName(o), got, err)
		}
		name := rapid.StringMatching(`[0-9a-zA-Z-]{0,20}`).Draw(t, "name")
		if got, err := parseName(name); err == nil && memberName(got) != name {
			t.Fatalf("%s is read as %v, whose name is %s", name, got, memberName(got))
		}
	})
	for _, bad := range []string{"", "host-1", "a", "a-", "-a", "0-1", "A-1", "a-B", "0a-1", "a-01", "a-1-1"} {
		if o, err := parseName(bad); err == nil {
			t.Errorf("%q is read as %v", bad, o)
		}
	}
}

func TestMetadataFitsAndComesBack(t *testing.T) {
	want := dynmesh.Member{PublicKey: PublicKey(identityOf(1)), Role: dynmesh.RoleFrontend, Service: strings.Repeat("x", maxService-len(":65535")) + ":65535", LeaseTTL: maxLeaseTTL, Version: strings.Repeat("v", maxVersion)}
	b := metaOf(want)
	if len(b) > 512 {
		t.Errorf("metadata has %d bytes", len(b))
	}
	if got, _, err := decodeMeta(b); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, _, err := decodeMeta(append(b, 0xa2, 0x06, 3, 'n', 'e', 'w')); err != nil {
		t.Errorf("a field of a later version: %v", err)
	}
	for _, bad := range [][]byte{nil, {1}, []byte("{}"), {0x0a, 200}} {
		if m, _, err := decodeMeta(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, m)
		}
	}
}

// What a member says of itself comes to people as one line, and is dialled only where it can be.
func TestMetadataIsText(t *testing.T) {
	got, _, err := decodeMeta(metaOf(dynmesh.Member{Role: "wor\x1bth\n" + dynmesh.Role(strings.Repeat("r", 300)), Version: "1\r\n2\xff" + strings.Repeat("v", 300)}))
	if err != nil {
		t.Fatal(err)
	}
	for text, limit := range map[string]int{string(got.Role): maxRole, got.Version: maxVersion} {
		if len(text) > limit || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("got %q", text)
		}
	}
	if got, _, err := decodeMeta(metaOf(dynmesh.Member{Role: "observer", Version: "v1.2.3-rc1"})); err != nil || got.Role != "observer" || got.Version != "v1.2.3-rc1" {
		t.Errorf("a role of a later version: %+v, %v", got, err)
	}
	for _, service := range []string{"h", "h:", ":1", "h\n:1", "\xff:1", strings.Repeat("h", maxService) + ":1"} {
		if got, _, err := decodeMeta(metaOf(dynmesh.Member{Role: dynmesh.RoleWorker, Service: service})); err == nil {
			t.Errorf("port of requests %q is read as %q", service, got.Service)
		}
	}
}

// golden is version 2 of the messages: it must never change.
func golden() map[string]message {
	from := dynmesh.Observer{ID: 0x0102030405060708, Epoch: 300}
	return map[string]message{
		"0210090807060504030201" + "10ac02" + "1a0c" + "31302e302e302e313a393939" + "2007" + "2801": {typ: typePing, from: from, addr: "10.0.0.1:999", nonce: 7, stream: true},
		"0211090807060504030201" + "10ac02" + "2007":                                                {typ: typePong, from: from, nonce: 7},
		"0212090807060504030201" + "10ac02" + "310500000000000000" + "510600000000000000" + "4001":  {typ: typeDigestProbe, from: from, sum: 5, members: 6, reply: true},
		"0213090807060504030201" + "10ac02" + "3a02aabb" + "4001":                                   {typ: typeState, from: from, digest: []byte{0xaa, 0xbb}, reply: true},
	}
}

func TestGoldenMessages(t *testing.T) {
	for want, m := range golden() {
		b := m.encode()
		if got := fmt.Sprintf("%x", b); got != want {
			t.Errorf("type %d: %s, want %s", m.typ, got, want)
		}
		back, err := decodeMessage(append(b, 0xa2, 0x06, 3, 'n', 'e', 'w')) // with a field of a later version
		if err != nil || fmt.Sprint(back) != fmt.Sprint(m) {
			t.Errorf("got %+v, %v, want %+v", back, err, m)
		}
	}
	all := compounds(dynmesh.Observer{ID: 1, Epoch: 2}, [][]byte{{1, 1, 9}, make([]byte, maxCompound), {2, 2}})
	if len(all) != 3 {
		t.Fatalf("%d bundles", len(all))
	}
	if got := fmt.Sprintf("%x", all[0]); got != "021409010000000000000010024a03010109" {
		t.Errorf("bundle: %s", got)
	}
	n := 0
	for _, b := range all {
		m, err := decodeMessage(b)
		if err != nil || m.from.ID != 1 {
			t.Errorf("got %v, %v", m.from, err)
		}
		n += len(m.messages)
	}
	if n != 3 {
		t.Errorf("%d messages come back", n)
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range golden() {
		f.Add(m.encode())
	}
	f.Add(compounds(dynmesh.Observer{ID: 1}, [][]byte{{1, 1}})[0])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 2 {
			return
		}
		m, err := decodeMessage(b)
		if err != nil {
			return
		}
		m.messages, m.members = nil, 0 // these are encoded elsewhere, or with some types only
		if m.typ != typeDigestProbe {
			m.sum = 0
		}
		back, err := decodeMessage(m.encode())
		if back.members = 0; err != nil || fmt.Sprint(back) != fmt.Sprint(m) {
			t.Errorf("%+v comes back as %+v, %v", m, back, err)
		}
	})
}

func TestAddressBook(t *testing.T) {
	now := time.Now()
	c := newAddressBook("self:1")
	c.joined("self:1")
	if !c.alone() {
		t.Error("with itself it is not alone")
	}
	c.joined("a:1")
	c.joined("a:1") // a second life, before the first is known to be gone
	c.joined("b:1")
	c.lost("a:1", true, now)
	if addr, ok := c.deadOne(now); ok {
		t.Errorf("%s is lost, and somebody is there", addr)
	}
	c.lost("b:1", true, now)
	if addr, ok := c.deadOne(now); !ok || addr != "b:1" {
		t.Errorf("lost is %q", addr)
	}
	if got := c.missing([]string{"self:1", "a:1", "b:1", "c:1"}); !slices.Equal(got, []string{"b:1", "c:1"}) {
		t.Errorf("missing are %v", got)
	}
	if _, ok := c.deadOne(now.Add(keepDeadAddress)); ok {
		t.Error("it is remembered for ever")
	}
	for i := range maxDead + 100 {
		addr := fmt.Sprint("x:", i)
		c.joined(addr)
		c.lost(addr, true, now.Add(time.Duration(i)))
	}
	if _, oldest := c.dead["x:99"]; len(c.dead) != maxDead || oldest {
		t.Errorf("%d are remembered, the oldest: %v", len(c.dead), oldest)
	}
	c.lost("a:1", false, now)
	if !c.alone() {
		t.Error("it is not alone")
	}
}

// A reader that takes seldom ends with the same as one that takes after each change, never hears
// that something is gone of which it never heard, and hears that a member was lost or left before
// it is forgotten.
func TestUpdatesCoalesce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type view struct {
			members map[dynmesh.Observer]dynmesh.Member
			seen    map[dynmesh.ObservationKey]dynmesh.Observation
		}
		last, newest := map[dynmesh.Observer]dynmesh.MemberState{}, map[dynmesh.InstanceID]uint64{}
		apply := func(v view, u dynmesh.GossipUpdate) {
			for _, o := range u.Forgotten {
				if _, ok := v.members[o]; !ok {
					t.Fatalf("%v is forgotten, and was never there", o)
				}
			}
			for _, m := range u.Members {
				v.members[m.Observer] = m
			}
			for _, o := range u.Forgotten {
				got, newest := v.members[o].State, newest[o.ID] == o.Epoch
				if got != last[o] && last[o] != dynmesh.Alive && newest {
					t.Fatalf("%v is forgotten as %s, and was %s", o, got, last[o])
				}
				delete(v.members, o)
			}
			for _, k := range u.Withdrawn {
				if _, ok := v.seen[k]; !ok {
					t.Fatalf("%v is withdrawn, and was never there", k)
				}
				delete(v.seen, k)
			}
			for _, o := range u.Observations {
				v.seen[o.Key()] = o
			}
		}
		lazy := view{map[dynmesh.Observer]dynmesh.Member{}, map[dynmesh.ObservationKey]dynmesh.Observation{}}
		truth := view{map[dynmesh.Observer]dynmesh.Member{}, map[dynmesh.ObservationKey]dynmesh.Observation{}}
		u := newUpdates()
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			o := dynmesh.Observer{ID: dynmesh.InstanceID(rapid.IntRange(1, 3).Draw(t, "id"))}
			for known := range truth.members { // the table has one life of each
				if known.ID == o.ID {
					o = known
				}
			}
			if o.Epoch == 0 {
				o.Epoch = uint64(i + 1)
			}
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				state := rapid.SampledFrom([]dynmesh.MemberState{dynmesh.Alive, dynmesh.Dead, dynmesh.Left}).Draw(t, "state")
				m := dynmesh.Member{Observer: o, State: state, Since: time.Unix(int64(i), 0)}
				truth.members[o], last[o], newest[o.ID] = m, state, o.Epoch
				u.member(m)
			case 1:
				delete(truth.members, o)
				u.forget(o)
			case 2:
				seen := dynmesh.Observation{Observer: o, Seq: uint64(i), Report: dynmesh.Report{Finding: dynmesh.Pass}}
				truth.seen[seen.Key()] = seen
				u.observations([]dynmesh.Observation{seen}, nil)
			case 3:
				delete(truth.seen, dynmesh.ObservationKey{Observer: o})
				u.observations(nil, []dynmesh.ObservationKey{{Observer: o}})
			case 4:
				select {
				case <-u.changed:
				default:
				}
				apply(lazy, u.take())
			}
		}
		apply(lazy, u.take())
		if !maps.Equal(lazy.members, truth.members) || !maps.Equal(lazy.seen, truth.seen) {
			t.Fatalf("the reader has %v, and the truth is %v", lazy, truth)
		}
	})
}
