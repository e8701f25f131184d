package e2e

import (
	"errors"
	"testing"
	"time"
)

// etcdFrozen: etcd stands still for longer than the TTL and goes on, so that it lets leases expire which nobody could renew.
// No instance disappears from /health for that, even for a moment, and each keeps its id.
func etcdFrozen(t *testing.T, w *world) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 2)
	workers := w.startWorkers(e, 0, 3, "generate", "embed")
	keys := keysOf(workers...)
	await(t, settled, frontends, keys)

	sameLives := w.census(frontends, workers)
	vigils := append(w.alive(frontends, workers), w.listed(frontends, keys)...)
	w.during(frozen{e.servers[0]}, func() {
		began := time.Now()
		noticed := eventually(t, 6*time.Second, "every frontend says stale", func() error {
			return errors.Join(frontends[0].expect(t, "stale", keys), frontends[1].expect(t, "stale", keys))
		})
		t.Logf("stale %v after etcd froze", millis(noticed))
		<-time.After(leaseTTL + 5*time.Second - time.Since(began)) // the scenario itself
	})
	await(t, settled, frontends, keys)
	eventually(t, settled, "every instance is in etcd under the ID it had", func() error {
		for _, worker := range workers {
			if err := worker.findID(e); err != nil {
				return err
			}
		}
		return nil
	})
	<-time.After(10 * time.Second) // until frontends believe removals again
	await(t, settled, frontends, keys)
	end(t, vigils...)
	sameLives()
}

// memberFrozen: one member after the other of a three-node cluster stands still. Nobody loses a lease for that: whoever
// talks to the frozen one leaves it in time.
func memberFrozen(t *testing.T, w *world) {
	e := w.startEtcd(3)
	frontends := w.startFrontends(e, 2)
	workers := w.startWorkers(e, 0, 3, "generate", "embed")
	keys := keysOf(workers...)
	await(t, settled, frontends, keys)

	sameLives := w.census(frontends, workers)
	vigils := append(w.alive(frontends, workers), w.listed(frontends, keys)...)
	for _, member := range e.servers {
		w.during(frozen{member}, func() { <-time.After(leaseTTL + 5*time.Second) }) // the scenario itself
		await(t, settled, frontends, keys)
	}
	for _, worker := range workers {
		if err := worker.findID(e); err != nil {
			t.Error(err)
		}
	}
	end(t, vigils...)
	sameLives()
}
