package fleet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/address"
)

// at is an instance that says it listens there.
func at(k dynmesh.InstanceKey, addr string) dynmesh.Instance {
	return dynmesh.Instance{InstanceKey: k, Transport: raw(fmt.Sprintf(`{"tcp":"%s/1/g"}`, addr))}
}

// notWatched are the warnings that name instances for their addresses.
func notWatched(r *rig) (all []string) {
	for _, w := range r.f.Warnings() {
		if strings.Contains(w, " watched") || strings.Contains(w, "for their addresses") {
			all = append(all, w)
		}
	}
	return all
}

// What a registry names is connected to where a worker can be, and the rest is named with its
// reason.
func TestAddressesThatAreRefused(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, tt := range []struct {
		name, addr string
		cfg        Config
		host       string // that the worker has told; empty: it has told nothing
		why        string // empty: it is watched
	}{
		{name: "an address", addr: "10.0.0.1:9000"},
		{name: "link-local, where clouds keep secrets", addr: "169.254.169.254:80", why: "169.254.169.254:80 is a link-local address"},
		{name: "multicast", addr: "224.0.0.1:9000", why: "224.0.0.1:9000 is a multicast address"},
		{name: "broadcast", addr: "255.255.255.255:9000", why: "255.255.255.255:9000 is the broadcast address"},
		{name: "loopback of nobody knows whom", addr: "127.0.0.1:9000", why: "127.0.0.1:9000 is a loopback address, which means another host's own"},
		{name: "localhost", addr: "localhost:9000", why: "localhost:9000 is a loopback address, which means another host's own"},
		{name: "loopback of another host", addr: "127.0.0.1:9000", host: "there", why: "127.0.0.1:9000 is a loopback address, which means another host's own"},
		{name: "loopback of this host", addr: "127.0.0.1:9000", host: "here"},
		{name: "loopback, and a registry on this host", addr: "127.0.0.1:9000", cfg: Config{Probe: address.Policy{Loopback: true}}},
		{name: "within the networks", addr: "10.0.0.1:9000", cfg: Config{Probe: address.Policy{Networks: networks}}},
		{name: "outside of them", addr: "192.168.0.1:9000", cfg: Config{Probe: address.Policy{Networks: networks}}, why: "192.168.0.1:9000 is outside of DYN_PROBE_NETWORKS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Gossip, tt.cfg.Self, tt.cfg.Host = true, self, "here"
			r := rigOf(t, tt.cfg)
			k := key("b", 1)
			u := synced(at(k, tt.addr))
			if tt.host != "" {
				u.Members = []dynmesh.RegisteredMember{registered(k.ID, tt.host)}
			}
			r.discover(u)
			r.rest(memberDeadline)
			want, watched := []string(nil), tt.addr
			if tt.why != "" {
				want, watched = []string{"dyn://d.b.g instance 1 is not watched: " + tt.why}, ""
			}
			if got := notWatched(r); !slices.Equal(got, want) || r.watched[subject(k)] != watched {
				t.Errorf("warned of %q, watched at %q; want %q, %q", got, r.watched[subject(k)], want, watched)
			}
			if i := r.f.endpoints.find(k.Endpoint, k.ID); !i.Shown() {
				t.Error("the instance has no verdict: what is registered is told, whether or not it is watched")
			}
			r.discover(synced(at(k, "10.0.0.2:9000")))
			r.rest(memberDeadline)
			if got := notWatched(r); got != nil || r.watched[subject(k)] != "10.0.0.2:9000" {
				t.Errorf("moved to a good address: warned of %q, watched at %q", got, r.watched[subject(k)])
			}
			r.discover(synced(at(k, "169.254.0.1:1")))
			r.rest(memberDeadline)
			r.discover(deleted(k))
			if got := notWatched(r); got != nil || len(r.f.refused) != 0 {
				t.Errorf("gone: warned of %q", got)
			}
		})
	}
}

// Whose host it is may be known later than its address.
func TestRefusedUntilItsHostIsKnown(t *testing.T) {
	r := rigOf(t, Config{Gossip: true, Self: self, Host: "here"})
	k := key("b", 1)
	r.discover(synced(at(k, "127.0.0.1:9000")))
	r.rest(foreignAfter)
	if len(notWatched(r)) != 1 {
		t.Fatalf("warned of %q", notWatched(r))
	}
	member := registered(k.ID, "here")
	member.GossipAddr = ""
	r.discover(dynmesh.RegistryUpdate{State: dynmesh.Synced, MembersRead: true, Members: []dynmesh.RegisteredMember{member}})
	r.rest(foreignAfter)
	if got := notWatched(r); got != nil || r.watched[subject(k)] != "127.0.0.1:9000" {
		t.Errorf("warned of %q, watched at %q", got, r.watched[subject(k)])
	}
}

// A system port may be refused though its worker is not.
func TestSystemPortsThatAreRefused(t *testing.T) {
	r := newRig(t)
	k := key("b", 1)
	u := synced(at(k, "10.0.0.1:9000"))
	u.Cards = []dynmesh.ModelCard{{CardKey: dynmesh.CardKey{InstanceKey: k}, Model: "m", SystemURL: "http://169.254.169.254:80/latest"}}
	r.discover(u)
	r.rest(foreignAfter)
	want := []string{"dyn://d.b.g instance 1 is watched but for its system port: 169.254.169.254:80 is a link-local address"}
	if got := notWatched(r); !slices.Equal(got, want) || r.watched[subject(k)] != "10.0.0.1:9000" {
		t.Errorf("warned of %q, watched at %q", got, r.watched[subject(k)])
	}
}

// However many there are, the first are named, and the rest counted.
func TestManyThatAreRefused(t *testing.T) {
	r := newRig(t)
	var all []dynmesh.Instance
	for n := range uint64(3 * maxRefused) {
		all = append(all, at(key("b", n+1), "169.254.0.1:1"))
	}
	r.discover(synced(all...))
	r.rest(foreignAfter)
	got := notWatched(r)
	if len(got) != maxRefused+1 || got[maxRefused] != fmt.Sprintf("and %d more instances for their addresses", 2*maxRefused) ||
		!strings.HasPrefix(got[0], "dyn://d.b.g instance 1 ") || !strings.HasPrefix(got[maxRefused-1], "dyn://d.b.g instance 14 ") {
		t.Errorf("%d warnings: %q", len(got), got)
	}
}

// Members may name endpoints that no registry has. What does not show is not told.
func TestObservedNamesThatDoNotShow(t *testing.T) {
	r := newRig(t)
	worker := key("b", 1)
	r.member(worker.ID, dynmesh.Alive)
	for _, name := range []string{"fine", "\u202edenifer", "a\x1b[31m", "a\n", "\xff"} {
		k := worker
		k.Endpoint.Name = name
		r.observe(r.by(worker.ID, dynmesh.Report{Subject: subject(k), Kind: dynmesh.KindCanary, Finding: dynmesh.Pass}))
	}
	if all := r.f.Endpoints(); len(all) != 1 || all[0].Key().Name != "fine" {
		t.Errorf("%d endpoints are known", len(all))
	}
}
