package gossip

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
	dto "github.com/prometheus/client_model/go"

	"github.com/dynmesh/dynmesh"
)

// What waits for slow connections is bounded by its bytes too: everybody may ask for everything at once.
func TestSenderIsBoundedByBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMetrics()
		s := newSender("bulk", 256, m)
		ctx, cancel := context.WithCancel(t.Context())
		sent := 0
		s.start(ctx, 1, func(_ *memberlist.Node, b []byte) error {
			time.Sleep(time.Second)
			sent += len(b)
			return nil
		})
		s.send(memberlist.Node{}, make([]byte, maxQueued+1)) // alone, it gets in
		s.send(memberlist.Node{}, make([]byte, 1))
		time.Sleep(2 * time.Second)
		const size = 4 << 20
		for range 100 {
			s.send(memberlist.Node{}, make([]byte, size))
		}
		time.Sleep(2 * time.Minute)
		cancel()
		s.wait()
		if want := maxQueued + 1 + maxQueued; sent != want || s.queued.Load() != 0 {
			t.Errorf("sent %d bytes, want %d; %d count as queued", sent, want, s.queued.Load())
		}
		if n := counts(m.dropped, "what")["bulk"]; n != 1+100-maxQueued/size {
			t.Errorf("%v are counted as dropped", n)
		}
	})
}

// A lone member tries ever new addresses for as long as it is alone.
func TestLimitsAreBounded(t *testing.T) {
	var l limits
	now := time.Now()
	for i := range 10 * maxLimits {
		if l.allow(fmt.Sprint(i), now.Add(time.Duration(i)*time.Second)) != 1 {
			t.Fatal("what is new is not said")
		}
		if len(l.said) > maxLimits {
			t.Fatalf("%d messages are remembered", len(l.said))
		}
	}
}

// What is told directly is told twice, 50 ms apart, also by those who have nothing else to wake up for.
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
		m.pass(repeatAfter + 10*time.Millisecond)
		var sent dto.Metric
		if err := other.metrics.direct.Write(&sent); err != nil {
			t.Fatal(err)
		}
		if n := sent.GetCounter().GetValue(); n != 2 {
			t.Errorf("%v packets went to the frontend", n)
		}
	})
}
