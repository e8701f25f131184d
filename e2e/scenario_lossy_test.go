package e2e

import (
	"errors"
	"testing"
	"time"
)

// packetsLost: 30 % of all packets are lost between members that are all well. Nobody is called
// unreachable.
func packetsLost(t *testing.T, w *world, full bool) {
	needPacketFaults(t, w)
	unwell(t, w, full, func(programs []program) fault { return lossy{programs: programs, part: 0.3} })
}

// processorsStarved: every program gets a tenth of a CPU. What that does is counted, and held
// against what it does to bare memberlist; it is no member's fault, so once it is over all are
// ready.
func processorsStarved(t *testing.T, w *world, full bool) {
	needPacketFaults(t, w)
	unwell(t, w, full, func(programs []program) fault { return starved{programs: programs, cpus: 0.1} })
}

// unwell runs a fault under which all workers are well, and counts who is called unreachable all
// the same.
func unwell(t *testing.T, w *world, full bool, make func([]program) fault) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 2)
	workers := w.startWorkers(e, 0, 10, "generate")
	awaitVerdict(t, settled, frontends, "ready", workers...)
	sameLives := w.census(frontends, workers)
	var bare *barePool
	if full {
		bare = w.startBare(len(workers))
	}
	began := time.Now()
	f := make(programsOf(frontends, workers))
	w.during(f, func() {
		if bare != nil {
			w.during(make(append(bare.members, bare.observer)), func() { <-time.After(5 * time.Minute) }) // the scenario itself
			t.Logf("beside: bare memberlist declared %d members dead", bare.deaths(t, began))
			return
		}
		<-time.After(20 * time.Second) // the scenario itself
	})
	falls := 0
	for _, f := range frontends {
		m, err := f.mesh(ask())
		w.must("mesh of "+f.name(), err)
		falls += m.falls(began, workers...)
	}
	t.Logf("%v: %d verdicts of unreachable, on %d frontends together", f, falls, len(frontends))
	if _, ok := f.(lossy); ok && falls > 0 {
		t.Errorf("%v: got %d verdicts of unreachable, want none", f, falls)
	}
	eventually(t, settled, "all are ready once it is over", func() error {
		return errors.Join(frontends[0].says(ask(), "ready", workers...), frontends[1].says(ask(), "ready", workers...))
	})
	sameLives()
}
