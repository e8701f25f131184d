package gossip

import (
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/dynmesh/dynmesh"
)

// What is told directly is told twice, 50 ms apart, also by those who have nothing else to wake up
// for.
func TestUrgentFindingsAreRepeatedSoon(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		frontend := m.start(1, func(c *Config) { c.Role = dynmesh.RoleFrontend })
		other := m.start(2, func(c *Config) { c.Role = dynmesh.RoleFrontend })
		m.joined(frontend, other)
		m.pass(10 * time.Second)
		other.Observe(dynmesh.Report{
			Subject: dynmesh.Subject{ID: 2}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true, At: time.Now(),
		})
		m.pass(resendAfter + 10*time.Millisecond)
		var sent dto.Metric
		if err := other.metrics.direct.Write(&sent); err != nil {
			t.Fatal(err)
		}
		if n := sent.GetCounter().GetValue(); n != 2 {
			t.Errorf("%v packets went to the frontend", n)
		}
	})
}
