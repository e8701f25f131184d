package canary

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/mocker"
)

// TestNothingPilesUpOverFrozenCanaries: a thousand canaries that freeze leave no goroutine,
// connection or memory behind.
func TestNothingPilesUpOverFrozenCanaries(t *testing.T) {
	e, url := runMock(t)
	setKnobs(t, e, mocker.Knobs{Freeze: new(1)})
	const endpoints, rounds = 50, 20
	w := monitor(t, Config{Wait: 10 * time.Millisecond, Timeout: 25 * time.Millisecond})
	w.log.Reset()
	logged := w.cfg.Log.Logger
	logged.ReplaceHooks(nil) // the hook keeps every line, which would be all that grows
	var sent atomic.Int64
	probe := mockProbe(t, url)
	countingProbe := func(ctx context.Context) error {
		sent.Add(1)
		return probe(ctx)
	}
	for i := range endpoints {
		w.serve(Endpoint{Name: fmt.Sprint(i), Probe: countingProbe})
	}
	until := func(n int64) {
		t.Helper()
		testkit.Eventually(t, 3*patience, fmt.Sprintf("%d canaries", n), func() bool { return sent.Load() >= n })
	}
	used := func() (goroutines int, bytes uint64) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	until(endpoints * 2) // buffers and the like are there
	goroutines, bytes := used()
	until(endpoints * rounds)
	moreGoroutines, moreBytes := used()
	// Each canary under way has about a dozen goroutines, the mock engine's included; how many
	// there are varies.
	if moreGoroutines > goroutines+endpoints*14 {
		t.Errorf("got %d goroutines after %d canaries, %d after the first", moreGoroutines, sent.Load(), goroutines)
	}
	if moreBytes > bytes+20<<20 {
		t.Errorf("got %d bytes after %d canaries, %d after the first", moreBytes, sent.Load(), bytes)
	}
	w.stop()
	testkit.Eventually(t, patience, "twelve goroutines at most, when all has ended", func() bool { return runtime.NumGoroutine() <= 12 })
}
