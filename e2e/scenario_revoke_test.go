package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// leaseRevoked is scenario g: an operator revokes a worker's lease by hand: the worker is back
// within 2 s under the same id.
func leaseRevoked(t *testing.T, w *world) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 2)
	workers := w.startWorkers(e, 0, 2, "generate", "embed")
	keys := keysOf(workers...)
	await(t, settled, frontends, keys)
	sameLives := w.census(frontends, workers)
	vigils := w.alive(frontends, workers)

	// More than once: the second lease is watched over as the first was.
	for range 3 {
		var began time.Time
		var watch clientv3.WatchChan
		w.must("revoke the lease", e.do(func(ctx context.Context) error {
			began = time.Now()
			answer, err := e.client.Revoke(ctx, clientv3.LeaseID(workers[0].id))
			if err == nil {
				watch = e.client.Watch(t.Context(), ownInstances, clientv3.WithPrefix(), clientv3.WithRev(answer.Header.Revision))
			}
			return err
		}))
		back, err := e.awaitBack(watch, workers[0])
		w.must("keys are back", err)
		await(t, 2*time.Second-w.pace.Since(began), frontends, keys)
		t.Logf("revoked: back in etcd after %v, in every /health after %v", millis(back.Sub(began)), millis(time.Since(began)))
		if err := workers[0].findID(e); err != nil {
			t.Error(err)
		}
	}
	end(t, vigils...)
	sameLives()
}

// awaitBack returns when all of the worker's keys, having been deleted, were put again.
func (e *etcd) awaitBack(watch clientv3.WatchChan, w *worker) (time.Time, error) {
	deleted, put := w.inEtcd(), w.inEtcd()
	without := func(keys []string, key []byte) []string {
		return slices.DeleteFunc(keys, func(k string) bool { return k == string(key) })
	}
	err := e.do(func(ctx context.Context) error {
		for len(deleted)+len(put) > 0 {
			select {
			case answer := <-watch:
				if err := answer.Err(); err != nil {
					return err
				}
				for _, event := range answer.Events {
					switch {
					case event.Type == clientv3.EventTypeDelete:
						deleted = without(deleted, event.Kv.Key)
					case len(deleted) == 0:
						put = without(put, event.Kv.Key)
					}
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return time.Now(), err
}
