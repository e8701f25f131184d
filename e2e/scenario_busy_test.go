package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// busyWorker: while requests come, 1,000 a second, no canary is sent and the worker is never not
// ready. When they have stopped for the wait time, one is.
func busyWorker(t *testing.T, w *world, wait, long time.Duration) {
	e := w.startEtcd(1)
	busy := w.startWorkersWith(e, 0, 1, map[string]string{
		"DYN_HEALTH_CHECK_ENABLED": "true", "DYN_CANARY_WAIT_TIME": wait.String(),
	}, "generate")[0]
	busy.awaitStatus(t, http.StatusOK, "ready")
	const sent, completed, cpu = "dynmesh_canary_sent_total", `dynmesh_worker_requests_total{endpoint="generate",result="completed"}`, "process_cpu_seconds_total"

	const rate = 1000
	load := w.load("http://"+busy.where().addr(rpcPort)+"/v1/rpc/generate", rate)
	eventually(t, settled, "requests complete", func() error {
		if load.done.Load() == 0 {
			return errors.New("none yet")
		}
		return nil
	})
	vigils := append(w.alive(nil, []*worker{busy}), w.ready(busy))
	began, canaries, requests, used := time.Now(), busy.metric(t, sent), busy.metric(t, completed), busy.metric(t, cpu)
	eventually(t, long+time.Second, "the load has lasted", func() error {
		if left := long - time.Since(began); left > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
	more := busy.metric(t, sent) - canaries
	requests, used = busy.metric(t, completed)-requests, busy.metric(t, cpu)-used
	took := time.Since(began).Seconds()
	end(t, vigils...)
	load.stop()
	if more != 0 {
		t.Errorf("%v canaries were sent, want none", more)
	}
	if load.failed.Load() > 0 {
		t.Errorf("%d requests failed; one of them: %v", load.failed.Load(), load.failure.Load())
	}
	t.Logf("%.0f requests completed in %.1f s, %.0f a second (wanted: %d), %.0f canaries; the worker used %.1f s of processor time, %.0f µs a request",
		requests, took, requests/took, rate, more, used, used/requests*1e6)
	if requests/took < rate/10 {
		t.Errorf("%.0f requests a second are no load", requests/took)
	}

	eventually(t, 2*wait+settled, "a canary goes out once it is idle", func() error {
		if busy.metric(t, sent) == canaries {
			return errors.New("none yet")
		}
		return nil
	})
}

// load sends requests until it is stopped.
type load struct {
	stop         func() // and waits
	done, failed atomic.Int64
	failure      atomic.Value // string
}

func (w *world) load(url string, rate int) *load {
	const clients = 64
	l := &load{}
	ctx, cancel := context.WithCancel(context.Background())
	client := &http.Client{Timeout: settled, Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	orders := make(chan struct{}, clients)
	var all sync.WaitGroup
	all.Go(func() {
		ticks := time.NewTicker(time.Millisecond)
		defer ticks.Stop()
		defer close(orders)
		began := time.Now()
		for ordered := 0; ; {
			due := int(time.Since(began).Seconds() * float64(rate))
			for ; ordered < due; ordered++ {
				select {
				case orders <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-ticks.C:
			case <-ctx.Done():
				return
			}
		}
	})
	for range clients {
		all.Go(func() {
			for range orders {
				// Not ctx: what has been sent is to be answered.
				if err := complete(context.Background(), client, url); err != nil {
					l.failed.Add(1)
					l.failure.Store(strings.TrimSpace(err.Error()))
					continue
				}
				l.done.Add(1)
			}
		})
	}
	l.stop = sync.OnceFunc(func() {
		cancel()
		all.Wait()
		client.CloseIdleConnections()
	})
	w.t.Cleanup(l.stop)
	return l
}
