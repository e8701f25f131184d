package e2e

import (
	"testing"
	"time"
)

// allRestartedThenFrozen: all workers are killed and come back, and while gossip still remembers
// their former lives, all of them stand still. One frontend is left to see it. memberlist counts
// the dead among those who could confirm a suspicion, so it would wait for half a minute.
func allRestartedThenFrozen(t *testing.T, w *world) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 1)
	workers := w.startWorkers(e, 0, 2, "generate")
	awaitVerdict(t, settled, frontends, "ready", workers...)

	w.crash(programsOf(nil, workers)...)
	for _, worker := range workers {
		w.restart(e, worker)
	}
	awaitVerdict(t, settled, frontends, "ready", workers...)
	<-time.After(10 * time.Second) // until gossip has declared the former lives dead, and all watch each other

	var took time.Duration
	w.during(frozen{workers[0]}, func() {
		w.during(frozen{workers[1]}, func() {
			took = awaitVerdict(t, 10*time.Second, frontends, "unreachable", workers...)
		})
	})
	awaitVerdict(t, settled, frontends, "ready", workers...)
	report(t, false, "restarted, then frozen → unreachable", []time.Duration{took}, 4*time.Second, 6*time.Second)
}
