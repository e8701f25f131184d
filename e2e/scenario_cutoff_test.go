package e2e

import (
	"context"
	"slices"
	"syscall"
	"testing"
)

// compactedWhileCutOff is scenario e: history compacted while a frontend is cut off from etcd: it
// comes back right, removals included.
func compactedWhileCutOff(t *testing.T, w *world) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 2)
	workers := w.startWorkers(e, 0, 3, "generate")
	// One that dynmesh did not register, and that nobody's lease removes.
	foreign := registered{Namespace: "dynamo", Component: "backend", Endpoint: "generate", ID: 0x694d9b90ff8deb4b}.key()
	w.must("put a foreign instance", e.put(foreign, `{"component":"backend","endpoint":"generate","namespace":"dynamo",`+
		`"instance_id":7587891994254240587,"transport":{"nats_tcp":"dynamo_backend.generate-694d9b90ff8deb4b"}}`))
	before := append(keysOf(workers...), foreign)
	slices.Sort(before)
	await(t, settled, frontends, before)

	blind, seeing := frontends[0], frontends[1]
	sameLives := w.census(frontends, workers[1:])
	vigils := w.alive(frontends, workers[1:])
	var after []string
	w.during(cutOff{blind}, func() {
		noticed := eventually(t, settled, "the frontend that is cut off says stale", func() error { return blind.expect(t, "stale", before) })
		t.Logf("stale %v after the cut", millis(noticed))

		w.kill(workers[0], syscall.SIGTERM)
		w.must("delete the foreign instance", e.do(func(ctx context.Context) error {
			_, err := e.client.Delete(ctx, foreign)
			return err
		}))
		after = keysOf(append(workers[1:], w.startWorkers(e, 3, 1, "generate")...)...)
		w.must("churn and compact", e.churn(300))
		await(t, settled, []*frontend{seeing}, after)
		if err := blind.expect(t, "stale", before); err != nil {
			t.Errorf("cut off, after the changes: %v", err)
		}
	})
	right := await(t, settled, frontends, after)
	t.Logf("synced and right %v after the cut was healed", millis(right))
	end(t, vigils...)
	sameLives()
}
