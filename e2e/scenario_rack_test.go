package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// rackFails: five of ten workers are killed at the same moment, again and again. Whoever of them
// was watched by two others of them is missed as soon, because those watch nobody any longer once
// they are missed themselves. Only where all that watch a worker, and all that watch those, and so
// on, are among the dead does it take memberlist.
//
// They are a rack, by their labels: each frontend says that in a line, at first of workers that are
// unreachable, then of some that are registered no longer, until there are others.
func rackFails(t *testing.T, w *world, full bool) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 2)
	var racks [2][]*worker
	for n := range racks {
		racks[n] = w.startWorkersWith(e, 5*n, 5, map[string]string{"DYN_LABELS": fmt.Sprintf("zone=a,rack=r%d", n)}, "generate")
	}
	workers := slices.Concat(racks[:]...)
	awaitVerdict(t, settled, frontends, "ready", workers...)

	var times []time.Duration
	for i := range pick(full, 2, 20) {
		dead, others := racks[i%2], racks[1-i%2]
		vigils := w.neverUnreachable(frontends, others...)
		began := w.crash(programsOf(nil, dead)...)
		awaitVerdict(t, 15*time.Second, frontends, "unreachable", dead...)
		times = append(times, w.pace.Since(began))
		awaitCauses(t, frontends, fmt.Sprintf("rack r%d: 5 of 5 ", i%2))
		for _, victim := range dead {
			w.restart(e, victim)
		}
		awaitVerdict(t, settled, frontends, "ready", workers...)
		awaitCauses(t, frontends)
		end(t, vigils...)
		<-time.After(10 * time.Second) // until all members know those that are new: the next ones to be killed are watched by them
	}
	report(t, full, "five of ten killed → all unreachable on every frontend", times, time.Second, 10*time.Second)
}

// awaitCauses waits until each frontend says that this, and nothing else, is what failures have in
// common: each line begins with one of those.
func awaitCauses(t *testing.T, frontends []*frontend, want ...string) {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, f := range frontends {
		eventually(t, settled, f.name()+" says what failures have in common", func() error {
			m, err := f.mesh(client)
			if err != nil {
				return err
			}
			var lines []string
			for _, c := range m.Causes {
				lines = append(lines, c.Line)
			}
			if !slices.EqualFunc(lines, want, strings.HasPrefix) {
				return fmt.Errorf("it says %q, want %q", lines, want)
			}
			return nil
		})
	}
}
