package address_test

import (
	"net/netip"
	"testing"

	"github.com/dynmesh/dynmesh/internal/address"
	"github.com/dynmesh/dynmesh/internal/parse"
)

// TestRefusal decides about addresses, and connects to none of them.
func TestRefusal(t *testing.T) {
	networks, err := parse.Networks("10.0.0.0/8,127.0.0.0/8,169.254.7.0/24,fd00::/8,192.0.2.1,::ffff:198.51.100.0/120")
	if err != nil {
		t.Fatal(err)
	}
	const allowed = ""
	for _, tt := range []struct {
		ip                        string
		zero, ours, within, local string // of the zero policy, for somebody on this host, with networks, with Loopback
	}{
		{"10.1.2.3", allowed, allowed, allowed, allowed},
		{"192.168.1.1", allowed, allowed, address.Elsewhere, allowed},
		{"192.0.2.1", allowed, allowed, allowed, allowed},
		{"192.0.2.2", allowed, allowed, address.Elsewhere, allowed},
		{"198.51.100.9", allowed, allowed, allowed, allowed},
		{"fd00::1", allowed, allowed, allowed, allowed},
		{"2001:db8::1", allowed, allowed, address.Elsewhere, allowed},
		{"::ffff:10.1.2.3", allowed, allowed, allowed, allowed},
		{"64:ff9b::a01:203", allowed, allowed, allowed, allowed}, // NAT64 of 10.1.2.3

		{"127.0.0.1", address.LoopbackOf, allowed, allowed, allowed},
		{"127.1.2.3", address.LoopbackOf, allowed, allowed, allowed},
		{"::1", address.LoopbackOf, allowed, address.Elsewhere, allowed},
		{"::ffff:127.0.0.1", address.LoopbackOf, allowed, allowed, allowed},

		{"169.254.169.254", address.LinkLocal, address.LinkLocal, address.Elsewhere, address.LinkLocal},
		{"169.254.7.7", address.LinkLocal, address.LinkLocal, allowed, address.LinkLocal},
		{"::ffff:169.254.169.254", address.LinkLocal, address.LinkLocal, address.Elsewhere, address.LinkLocal},
		{"64:ff9b::a9fe:a9fe", address.LinkLocal, address.LinkLocal, address.Elsewhere, address.LinkLocal},
		{"fe80::1", address.LinkLocal, address.LinkLocal, address.Elsewhere, address.LinkLocal},
		{"fe80::1%eth0", address.LinkLocal, address.LinkLocal, address.Elsewhere, address.LinkLocal},

		{"0.0.0.0", address.Unspecified, address.Unspecified, address.Unspecified, address.Unspecified},
		{"0.1.2.3", address.Unspecified, address.Unspecified, address.Unspecified, address.Unspecified},
		{"::", address.Unspecified, address.Unspecified, address.Unspecified, address.Unspecified},
		{"224.0.0.1", address.Multicast, address.Multicast, address.Multicast, address.Multicast},
		{"239.255.255.250", address.Multicast, address.Multicast, address.Multicast, address.Multicast},
		{"ff02::1", address.Multicast, address.Multicast, address.Multicast, address.Multicast},
		{"255.255.255.255", address.Broadcast, address.Broadcast, address.Broadcast, address.Broadcast},
		{"240.0.0.1", allowed, allowed, address.Elsewhere, allowed}, // as pods of GKE may have
		{"100.64.0.1", allowed, allowed, address.Elsewhere, allowed},
		{"198.18.0.1", allowed, allowed, address.Elsewhere, allowed},
	} {
		ip := netip.MustParseAddr(tt.ip)
		for _, at := range []struct {
			policy string
			got    string
			want   string
		}{
			{"zero policy", address.Policy{}.Refusal(ip, false), tt.zero},
			{"zero policy, named by this host", address.Policy{}.Refusal(ip, true), tt.ours},
			{"with networks", address.Policy{Networks: networks}.Refusal(ip, false), tt.within},
			{"registry on this host", address.Policy{Loopback: true}.Refusal(ip, false), tt.local},
			{"as a host", address.Policy{}.RefusalOf(tt.ip, false), tt.zero},
		} {
			if at.got != at.want {
				t.Errorf("%s, %s: refused as %q, want %q", tt.ip, at.policy, at.got, at.want)
			}
		}
	}
	if got := (address.Policy{}).Refusal(netip.Addr{}, true); got == allowed {
		t.Error("no address is allowed")
	}
	for host, want := range map[string]string{"localhost": address.LoopbackOf, "a.localhost.": address.LoopbackOf, "worker-1": allowed} {
		if got := (address.Policy{}).RefusalOf(host, false); got != want {
			t.Errorf("%s: refused as %q, want %q", host, got, want)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost.": true, "x.localhost": true, "127.0.0.1": true, "127.8.9.1": true, "::1": true, "[::1]": true,
		"::ffff:127.0.0.1": true, "": false, "0.0.0.0": false, "10.0.0.1": false, "localhost.example": false, "notlocalhost": false,
	} {
		if got := address.IsLoopback(host); got != want {
			t.Errorf("%q: got %v, want %v", host, got, want)
		}
	}
}

func TestAllLoopback(t *testing.T) {
	for _, tt := range []struct {
		addrs []string
		want  bool
	}{
		{nil, false}, {[]string{"127.0.0.1:2379"}, true}, {[]string{"localhost:2379", "[::1]:2379"}, true},
		{[]string{"127.0.0.1:2379", "10.0.0.1:2379"}, false}, {[]string{"etcd:2379"}, false}, {[]string{"127.0.0.1"}, false},
	} {
		if got := address.AllLoopback(tt.addrs); got != tt.want {
			t.Errorf("%q: got %v, want %v", tt.addrs, got, tt.want)
		}
	}
}
