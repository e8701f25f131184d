package gossip

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
)

// A frontend that has more foreign instances to watch than it may report of says so once, and
// nothing is refused further on.
func TestMoreForeignInstancesThanAreReported(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		const beyond = 100
		m.host(2) // which refuses
		p := m.start(1, func(c *Config) { c.Role, c.Join = dynmesh.RoleFrontend, nil })
		subject := func(n int) dynmesh.Subject { return dynmesh.Subject{ID: dynmesh.InstanceID(1000 + n)} }
		for n := range probe.MaxForeign + beyond {
			p.WatchForeign(subject(n), dynmesh.Foreign{Addr: fmt.Sprint(netip4(2), ":", 1000+n%600)})
		}
		m.within(5*time.Minute, "all for which there is room are reported", func() bool {
			return p.metrics.state.Load().table.Observations == probe.MaxForeign
		})
		m.pass(3 * time.Second)
		if h := p.metrics.state.Load().health; h.Unreported != beyond {
			t.Errorf("%d are said to be without a report, want %d", h.Unreported, beyond)
		}
		for n := range 2 * beyond {
			p.WatchForeign(subject(n), dynmesh.Foreign{Addr: ""})
		}
		m.pass(3 * time.Second)
		if h := p.metrics.state.Load().health; h.Unreported != 0 {
			t.Errorf("%d are without a report, and there is room", h.Unreported)
		}
		log := p.log.String()
		if _, first, bad := strings.Cut(log, "level=error"); bad {
			t.Errorf("%d errors, such as %.300q", strings.Count(log, "level=error"), first)
		}
		for _, text := range []string{"more foreign instances than one frontend can report of", "room again"} {
			if n := strings.Count(log, text); n != 1 {
				t.Errorf("%q is said %d times, want once", text, n)
			}
		}
	})
}

// What a table does not take is said once a minute, however much it is.
func TestRefusedFindingsAreSaidOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		p := m.start(1, func(c *Config) { c.Join = nil })
		for n := range 70000 {
			p.Observe(dynmesh.Report{Kind: dynmesh.KindCanary, Finding: dynmesh.Pass, Subject: dynmesh.Subject{
				ID: p.self.ID, Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "c", Name: fmt.Sprint("e", n)},
			}})
		}
		m.pass(3 * time.Second)
		if n := strings.Count(p.log.String(), "Cannot tell others of a finding"); n != 1 {
			t.Errorf("it is said %d times, want once", n)
		}
	})
}
