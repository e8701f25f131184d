package sidecar

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/worker/engine"
)

// An engine whose gauges stand still when it is idle and when it is in a long step alike: canaries
// go out, and one that is late is held against it only when nothing has moved for the stall budget.
func TestLongStepOrIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		monitor, err := canary.NewMonitor(canary.Config{})
		if err != nil {
			t.Fatal(err)
		}
		var last atomic.Pointer[sample]
		last.Store(&sample{})
		var hangs atomic.Bool
		var asked atomic.Int64
		probe := func(ctx context.Context) error {
			asked.Add(1)
			if hangs.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		if err := monitor.Serve(canary.Endpoint{
			Name: "generate", Probe: probe, CountsCanaries: true,
			Activity: func() canary.Activity { return last.Load().activityAt(time.Now()) },
		}); err != nil {
			t.Fatal(err)
		}
		background(t, monitor.Run)
		counted := engine.Totals{engine.InFlight: 1}
		// during lets seconds pass, in which the counters move or not, and says for how long the
		// endpoint was ready.
		during := func(d time.Duration, moves bool) (ready time.Duration) {
			for range d / time.Second {
				if moves {
					counted[engine.Tokens]++
				}
				next := last.Load().next(engine.Scrape{Totals: counted}, time.Now(), true)
				last.Store(&next)
				time.Sleep(time.Second)
				if s, _ := monitor.Status("generate"); s.Ready {
					ready += time.Second
				}
			}
			return ready
		}
		during(20*time.Second, true)
		hangs.Store(true)
		if got := during(time.Minute, false); got != time.Minute {
			t.Errorf("a step of a minute: ready for %v of it, want all", got)
		}
		during(5*time.Second, true)
		hangs.Store(false)
		before := asked.Load()
		if got := during(5*time.Minute, false); got != 5*time.Minute {
			t.Errorf("idle: ready for %v of 5m, want all", got)
		}
		if got := asked.Load() - before; got < 20 {
			t.Errorf("idle: got %d canaries in 5m, want one about every 10s", got)
		}
		hangs.Store(true)
		// Until the first canary is late, it is idle like before. The budget begins after that one
		// at the latest, and when it is used up, it may take until the next one is due to see it.
		const round = 15 * time.Second // the wait, 10 % more, and the timeout, with a second to look
		const budget = 5 * time.Minute // five times that step
		if got := during(2*budget, false); got < budget-round || got > budget+3*round {
			t.Errorf("hanging: ready for %v, want the stall budget of %v and three canaries more at most", got, budget)
		}
	})
}
