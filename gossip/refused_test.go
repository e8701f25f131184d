package gossip

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/address"
)

// A member at an address where no other host can be does not get in, and is named. Nothing is sent
// there: the network of these tests would not know the way.
func TestMembersAtRefusedAddresses(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		networks := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/29")}
		one := m.start(1, func(c *Config) { c.Join = nil })
		narrow := m.start(2, func(c *Config) { c.Probe = address.Policy{Networks: networks} })
		m.joined(one, narrow)
		m.start(3, func(c *Config) { c.Service = "169.254.169.254:80" })
		m.start(4, func(c *Config) { c.Service = "224.0.0.1:80" })
		m.start(9, nil) // outside of the networks
		m.within(time.Minute, "the members that may be are known", func() bool { return one.alive() == 3 })
		m.pass(10 * time.Second)
		for _, tt := range []struct {
			p       *peer
			alive   int
			refused int
			first   string
		}{
			{one, 3, 2, "169.254.169.254:80 is a link-local address"},
			{narrow, 2, 3, "10.0.0.9:7946 is outside of DYN_PROBE_NETWORKS"},
		} {
			tt.p.read()
			if n := tt.p.alive(); n != tt.alive || tt.p.health.Refused != tt.refused || tt.p.health.Refusal != tt.first {
				t.Errorf("%v sees %d members alive, and refuses %d, first %q; want %d, %d, %q",
					tt.p.Self().ID, n, tt.p.health.Refused, tt.p.health.Refusal, tt.alive, tt.refused, tt.first)
			}
			if rejectedBy(tt.p)["address"] == 0 {
				t.Errorf("%v has counted %v", tt.p.Self().ID, rejectedBy(tt.p))
			}
			if n := strings.Count(tt.p.log.String(), "Others name addresses to which this process does not connect"); n != 1 {
				t.Errorf("%v says so %d times, want once", tt.p.Self().ID, n)
			}
		}
	})
}

// Seeds that no member can have are not tried.
func TestSeedsAtRefusedAddresses(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		one := m.start(1, func(c *Config) { c.Join = nil })
		two := m.start(2, func(c *Config) {
			c.Join = nil
			c.Seeds = func(context.Context) ([]string, error) {
				return []string{"169.254.169.254:7946", "[fe80::1]:7946", "[ff02::1]:7946", "0.0.0.0:7946", netip4(1) + ":7946"}, nil
			}
		})
		m.joined(one, two)
		if two.read(); two.health.Refused != 4 || !strings.HasPrefix(two.health.Refusal, "0.0.0.0:7946 is an unspecified address") {
			t.Errorf("refuses %d, first %q", two.health.Refused, two.health.Refusal)
		}
		if strings.Contains(two.log.String(), "Cannot join") {
			t.Errorf("some were tried:\n%s", two.log)
		}
	})
}
