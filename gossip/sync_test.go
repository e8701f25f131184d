package gossip

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh"
)

// In a large mesh something changes all the time. Who has missed something hears of it all the
// same, and not only with the next push/pull, which is minutes away where members are many.
func TestRestlessMeshCompares(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		inBubble(t, seed, func(m *mesh) {
			peers := m.starts(8, nil)
			m.joined(peers...)
			m.pass(10 * time.Second)
			restless := func(d time.Duration, until func() bool) (took time.Duration) {
				begun := time.Now()
				for i := 0; time.Since(begun) < d && !until(); i++ {
					peers[2].Observe(canaryOf(3, "restless", []dynmesh.Finding{dynmesh.Pass, dynmesh.Fail}[i%2]))
					m.pass(400 * time.Millisecond)
				}
				return time.Since(begun)
			}
			missed := canaryOf(2, "missed", dynmesh.Pass)
			m.set(func() { peers[7].host.udpDown = true })
			peers[1].Observe(missed)
			restless(6*time.Second, func() bool { return false })
			m.set(func() { peers[7].host.udpDown = false })
			took := restless(time.Minute, func() bool {
				peers[7].read()
				_, known := peers[7].observations[dynmesh.ObservationKey{Observer: peers[1].Self(), Subject: missed.Subject}]
				return known
			})
			if took > restlessFor+10*time.Second {
				t.Errorf("seed %d: it took %v", seed, took)
			}
		})
	}
}

// A mesh says more at once than packets carry soon, so comparisons pass it on. Of members that
// compare with several at the same time, each would be sent the same by all of them.
func TestComparisonsBringTheSameFewTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		const members, findings, size = 32, 3200, 105 // signed
		f.join(members)
		f.quiet()
		before, begun := f.meter[comparisons].Load(), time.Now()
		f.say(findings)
		f.agreed()
		if took := time.Since(begun); took > restlessFor {
			t.Errorf("all know it after %v", took)
		}
		// By the seed it is 3 to 4 times as much; where each asks all at once, 12 times.
		if each := float64(f.meter[comparisons].Load()-before) / members / findings; each > 6*size {
			t.Errorf("each member has sent %.0f bytes for each finding, which has %d", each, size)
		}
	})
}
