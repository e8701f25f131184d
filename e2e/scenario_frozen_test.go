package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// etcdFrozen: etcd stands still for longer than the TTL and goes on, so that it lets leases expire
// which nobody could renew. No instance disappears from /health for that, even for a moment, and
// each keeps its id.
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
	inEtcdAgain(t, e, workers)
	<-time.After(10 * time.Second) // until frontends believe removals again
	await(t, settled, frontends, keys)
	end(t, vigils...)
	sameLives()
}

// memberFrozen: one member after the other of a three-node cluster stands still. Nobody fails to
// renew for that: whoever talks to the frozen one leaves it in time. But a leader that stood still
// may revoke, as it goes on, what it has not seen renewed, before it knows that it leads no longer
// (etcd-io/etcd#15247). Then workers take their leases again at once, under the same ID, and gossip
// has never lost them. At once is half a second; but on a busy machine the cluster may elect once
// more just then, and a call that waits for that takes up to 2 s.
func memberFrozen(t *testing.T, w *world) {
	e := w.startEtcd(3)
	frontends := w.startFrontends(e, 2)
	workers := w.startWorkers(e, 0, 3, "generate", "embed")
	keys := keysOf(workers...)
	await(t, settled, frontends, keys)

	sameLives := w.census(frontends, workers)
	vigils := append(w.alive(frontends, workers), w.neverUnreachable(frontends, workers...)...)
	vigils = append(vigils, w.listedButFor(4*time.Second, frontends, keys)...)
	for _, member := range e.servers {
		w.during(frozen{member}, func() { <-time.After(leaseTTL + 5*time.Second) }) // the scenario itself
		// If it led, and revokes, it does so when it next looks for leases that have expired, which is
		// each 500 ms. Were the new leader frozen on top of that, no lease could be taken before the next
		// election.
		<-time.After(2 * time.Second)
		inEtcdAgain(t, e, workers)
		await(t, settled, frontends, keys)
	}
	end(t, vigils...)
	sameLives()
}

// inEtcdAgain waits until every instance is in etcd, under the ID it had.
func inEtcdAgain(t *testing.T, e *etcd, workers []*worker) {
	t.Helper()
	eventually(t, settled, "every instance is in etcd under the ID it had", func() error {
		for _, worker := range workers {
			if err := worker.findID(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// listedButFor is listed, but that instances may be missing for so long: whoever revoked them, they
// are back by then.
func (w *world) listedButFor(longest time.Duration, frontends []*frontend, keys []string) []*vigil {
	var out []*vigil
	for _, f := range frontends {
		var since time.Time // of what is missing
		out = append(out, w.throughout(fmt.Sprintf("%s lists every instance, or does so again within %v", f.name(), longest), 10*time.Millisecond, func(client *http.Client) error {
			h, err := f.health(client)
			if err != nil {
				return err
			}
			got := slices.Sorted(slices.Values(h.keys()))
			switch now := time.Now(); {
			case slices.Equal(got, keys):
				if !since.IsZero() {
					w.t.Logf("%s: some instances were not registered for %v", f.name(), millis(now.Sub(since)))
				}
				since = time.Time{}
			case since.IsZero():
				since = now
			case now.Sub(since) > longest:
				return fmt.Errorf("for %v got %q (%s), want %q", millis(now.Sub(since)), got, h.header, keys)
			}
			return nil
		}))
	}
	return out
}
