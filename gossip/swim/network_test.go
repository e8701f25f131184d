package swim

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/dynmesh/dynmesh/internal/address"
)

// resolved has every name mean one address, as a registry's poisoner could have it who owns a zone.
// It must not run beside others: the resolver is the process's.
func resolved(t *testing.T, ip string) {
	t.Helper()
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go answer(server, netip.MustParseAddr(ip)) // ends with the connection
		return client, nil
	}}
}

// TestDialJudgesWhatNamesMean: the address is looked at when the connection is made. The only ones
// that are connected to are of this host.
func TestDialJudgesWhatNamesMean(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	resolved(t, "127.0.0.1")
	dial := func(p address.Policy, host string) error {
		c, err := Sockets{p}.Dial(t.Context(), net.JoinHostPort(host, port))
		if err == nil {
			c.Close()
		}
		return err
	}
	refused := func(err error) string {
		if e, ok := errors.AsType[*address.RefusedError](err); ok {
			return e.Reason
		}
		return ""
	}
	for _, tt := range []struct {
		name   string
		policy address.Policy
		host   string
		want   string // reason; empty: it connects
	}{
		{"a name that means this host", address.Policy{}, "rebound.test", address.LoopbackOf},
		{"in the registry of this host", address.Policy{Loopback: true}, "rebound.test", ""},
		{"the address itself, which was judged before", address.Policy{}, "127.0.0.1", ""},
		{"outside of the networks", address.Policy{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, "127.0.0.1", address.Elsewhere},
		{"within them", address.Policy{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, "rebound.test", ""},
	} {
		if err := dial(tt.policy, tt.host); refused(err) != tt.want || tt.want == "" && err != nil {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if err := dial(address.Policy{}, own); refused(err) != "" { // it may mean another address of this host
		t.Errorf("this host's own name: got %v", err)
	}
	if t.Failed() {
		return // a policy that is not asked would have something sent to what follows
	}
	resolved(t, "169.254.169.254")
	if err := dial(address.Policy{Loopback: true}, "metadata.test"); refused(err) != address.LinkLocal {
		t.Errorf("a name that means a link-local address: got %v", err)
	}
}

// answer answers one connection's questions, as DNS has them over TCP: each A with the address.
func answer(c net.Conn, ip netip.Addr) {
	defer c.Close()
	for {
		var size uint16
		if binary.Read(c, binary.BigEndian, &size) != nil {
			return
		}
		raw := make([]byte, size)
		if _, err := io.ReadFull(c, raw); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(raw) != nil {
			return
		}
		m.Response = true
		for _, q := range m.Questions {
			if q.Type == dnsmessage.TypeA {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
					Body:   &dnsmessage.AResource{A: ip.As4()},
				})
			}
		}
		m.Additionals = nil
		packed, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)); err != nil {
			return
		}
	}
}
