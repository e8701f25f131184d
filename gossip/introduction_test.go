package gossip

import (
	"context"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
)

// Whoever joins is watched before gossip has told everybody of it, also where much of what is
// gossiped goes to members that have died: so its end is noticed at once from its first moment on.
func TestWhoeverJoinsIsWatchedAtOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		m.set(func() { m.faults.delay = time.Millisecond })
		peers := m.starts(24, nil)
		m.joined(peers...)
		for _, p := range peers[8:] {
			m.kill(p)
		}
		m.pass(10 * time.Second) // until they are known to be dead
		for n := 30; n < 40; n++ {
			began := time.Now()
			young := m.start(n, nil)
			<-young.Watched()
			took, held := time.Since(began), young.node.Conns().Tripwires
			t.Logf("watched after %v by %d", took, held)
			if took > 100*time.Millisecond || held < probe.Watchers {
				t.Errorf("%d hold a tripwire after %v, want %d within 100 ms", held, took, probe.Watchers)
			}
			m.kill(young)
			s := worker(young.self.ID)
			m.within(200*time.Millisecond, "both have found its end", func() bool {
				return peers[0].told(s, probe.Watchers, dynmesh.Fail, dynmesh.ReasonRefused)
			})
		}
	})
}

// What is waited for is bounded: nobody may be there, or nobody may answer.
func TestWatchedIsSaidInTime(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		m.set(func() { m.faults.delay = time.Millisecond })
		began := time.Now()
		alone := m.start(1, func(c *Config) { c.Join = nil })
		<-alone.Watched()
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("alone: it took %v", took)
		}
		began = time.Now()
		silent := m.host(2)
		m.set(func() { silent.gone = true })
		lost := m.start(3, func(c *Config) { c.Join = []string{netip4(2) + ":7946"} })
		<-lost.Watched()
		if took := time.Since(began); took != introduceWithin {
			t.Errorf("where nobody answers: it took %v, want %v", took, introduceWithin)
		}
		began = time.Now()
		only := m.start(4, nil)
		<-only.Watched()
		if took := time.Since(began); took > 100*time.Millisecond || only.node.Conns().Tripwires != 1 {
			t.Errorf("where one other is there: %d hold a tripwire after %v", only.node.Conns().Tripwires, took)
		}
	})
}

// Whoever waits for it does not wait for a pool that has ended before it began.
func TestWatchedEndsWithRun(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		pool, err := newPool(Config{Role: dynmesh.RoleWorker, Identity: identityOf(1), Bind: "10.0.0.1:7946"}, m.host(1), belongsTo)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := pool.Run(ctx); err != nil {
			t.Error(err)
		}
		select {
		case <-pool.Watched():
		default:
			t.Error("Run has returned, and Watched goes on")
		}
	})
}
