package e2e

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"
)

// killedYoung: a worker is killed within two seconds of the moment at which every frontend lists
// it, again and again: beside others, and where it is the only one. It is missed as soon as one
// that has been there for long.
func killedYoung(t *testing.T, w *world, full bool) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 2)
	first := w.startWorkers(e, 0, 1, "generate")[0]
	awaitVerdict(t, settled, frontends, "ready", first)
	kills := pick(full, 3, 20)
	times := w.killYoung(e, frontends, first, kills)

	others := w.startWorkers(e, 1, 4, "generate")
	awaitVerdict(t, settled, frontends, "ready", others...)
	times = append(times, w.killYoung(e, frontends, first, kills)...)
	half, longest := 300*time.Millisecond, 500*time.Millisecond
	if !full {
		// A container's network goes with it: a watcher that gets no processor for that long finds
		// nobody to refuse its connection, and waits, as for one that has vanished. On a busy machine
		// one of six may.
		half, longest = longest, 5*time.Second
	}
	report(t, true, "killed young → unreachable on every frontend", times, half, longest)
}

// killYoung kills a worker, and each of its next lives when it has been listed for up to two
// seconds.
func (w *world) killYoung(e *etcd, frontends []*frontend, victim *worker, kills int) (times []time.Duration) {
	w.t.Helper()
	w.crash(victim)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := range kills {
		w.restart(e, victim)
		for !slices.ContainsFunc(frontends, func(f *frontend) bool { return f.says(client, "ready", victim) == nil }) {
			<-time.After(time.Millisecond)
		}
		age := 2 * time.Second * time.Duration(i) / time.Duration(kills-1)
		if i > 0 && i < kills-1 {
			age += rand.N(100*time.Millisecond) - 50*time.Millisecond
		}
		<-time.After(age)
		began := w.crash(victim)
		awaitVerdict(w.t, 15*time.Second, frontends, "unreachable", victim)
		took := w.pace.Since(began)
		w.t.Logf("killed after %v: unreachable after %v", millis(age), millis(took))
		times = append(times, took)
	}
	w.restart(e, victim)
	awaitVerdict(w.t, settled, frontends, "ready", victim)
	return times
}
