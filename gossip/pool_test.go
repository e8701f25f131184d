package gossip

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/dynmesh/dynmesh"
)

func TestObservationsReachAll(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(5, nil)
		m.joined(peers...)
		peers[3].Observe(canaryOf(4, "generate", dynmesh.Pass))
		m.within(3*time.Second, "known to all", func() bool {
			for _, p := range peers {
				if p.read(); len(p.observations) != 1 {
					return false
				}
			}
			return true
		})
	})
}

// TestFailuresDoNotWaitForGossip: frontends know at once whose engine fails, hangs or works again.
// What is well takes its turn.
func TestFailuresDoNotWaitForGossip(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		frontend, all := m.fleet(5)
		defer m.endAll()
		worker := all[2]
		for i, f := range []dynmesh.Finding{dynmesh.Pass, dynmesh.Fail, dynmesh.Pass, dynmesh.Stalled, dynmesh.Busy} {
			r := canaryOf(worker.Self().ID, "generate", f)
			key := dynmesh.ObservationKey{Observer: worker.Self(), Subject: r.Subject}
			worker.Observe(r)
			took := m.within(3*time.Second, string(f), func() bool {
				frontend.read()
				return frontend.observations[key].Finding == f
			})
			if i > 0 && took > 20*time.Millisecond {
				t.Errorf("%s: known to a frontend after %v, want at once", f, took)
			}
			m.pass(time.Second)
		}
		var sent dto.Metric
		if err := worker.metrics.direct.Write(&sent); err != nil {
			t.Fatal(err)
		}
		if n := sent.GetCounter().GetValue(); n != 4*2 {
			t.Errorf("%v packets went out directly, want 4 to the frontend, each twice", n)
		}
	})
}

func TestLossyNetworkLosesNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(8, nil)
		m.joined(peers...)
		m.set(func() {
			m.faults = faults{loss: 0.3, delay: 100 * time.Millisecond, jitter: 50 * time.Millisecond, duplicate: 0.1}
		})
		dead := 0
		for i := range 60 {
			p := peers[i%len(peers)]
			p.Observe(canaryOf(p.Self().ID, fmt.Sprint("e", i), dynmesh.Pass))
			m.pass(time.Second)
			for _, p := range peers {
				if p.alive() < len(peers) && p.health.Dead > 0 {
					dead++
				}
				if len(p.members) != len(peers) {
					t.Fatalf("%s has forgotten somebody: %v", p.Self().ID, p.members)
				}
			}
		}
		// What packets have not brought, comparisons do, which lose their own share: 3 s is the
		// median, one in a hundred takes 15 s.
		m.within(time.Minute, "agreed", func() bool { return agree(peers...) && len(peers[0].observations) == 60 })
		// That is memberlist's own opinion: who believes it is to hear what the paths say.
		t.Logf("in %d of %d looks somebody was held for dead", dead, 60*len(peers))
	})
}

// Whoever makes the reader's calls in a loop does not wake the pool with each.
func TestReaderStartsWithAllThatIsKnown(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(2, nil)
		m.joined(peers...)
		pool, err := newPool(Config{Role: dynmesh.RoleFrontend, Identity: identityOf(9), Bind: "10.0.0.9:7946", Keyring: Unencrypted(), Join: []string{peers[0].Addr()}}, m.host(9), belongsTo)
		if err != nil {
			t.Fatal(err)
		}
		peers[0].Observe(canaryOf(1, "generate", dynmesh.Pass))
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- pool.Run(ctx) }()
		m.pass(10 * time.Second)
		if u := pool.Take(); len(u.Members)+len(u.Observations) > 0 {
			t.Errorf("nobody has asked, and %+v is kept", u)
		}
		<-pool.Changed()
		synctest.Wait()
		u := pool.Take()
		own := slices.ContainsFunc(u.Observations, func(o dynmesh.Observation) bool { return o.Kind == dynmesh.KindCanary })
		if len(u.Members) != 3 || !own || u.Health.Alive != 3 {
			t.Errorf("the first update is %+v", u)
		}
		pool.Changed()
		pool.Changed()
		if w := pool.inbox.take(); w.listens {
			t.Error("each call wakes the loop")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
