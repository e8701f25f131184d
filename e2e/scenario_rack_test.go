package e2e

import (
	"testing"
	"time"
)

// rackFails: five of ten workers are killed at the same moment, again and again. Whoever of them
// was watched by two others of them is missed as soon, because those watch nobody any longer once
// they are missed themselves. Only where all that watch a worker, and all that watch those, and so
// on, are among the dead does it take memberlist.
func rackFails(t *testing.T, w *world, full bool) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 2)
	workers := w.startWorkers(e, 0, 10, "generate")
	awaitVerdict(t, settled, frontends, "ready", workers...)

	var times []time.Duration
	for i := range pick(full, 2, 20) {
		var rack, others []*worker
		for n, worker := range workers {
			if (n+i)%2 == 0 {
				rack = append(rack, worker)
			} else {
				others = append(others, worker)
			}
		}
		vigils := w.neverUnreachable(frontends, others...)
		began := w.crash(programsOf(nil, rack)...)
		awaitVerdict(t, 15*time.Second, frontends, "unreachable", rack...)
		times = append(times, w.pace.Since(began))
		for _, victim := range rack {
			w.restart(e, victim)
		}
		awaitVerdict(t, settled, frontends, "ready", workers...)
		end(t, vigils...)
		<-time.After(10 * time.Second) // until all members know those that are new: the next ones to be killed are watched by them
	}
	report(t, full, "five of ten killed → all unreachable on every frontend", times, time.Second, 10*time.Second)
}
