package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// agreed is how soon after /mesh all other answers say the same.
const agreed = time.Second

// allSaySame: whatever goes wrong, /mesh, /ready, /metrics and the commands that people type say
// one and the same of it, within a second of the moment in which /mesh says it.
func allSaySame(t *testing.T, w *world) {
	const count = 5
	e := w.startEtcd(1)
	front := w.startFrontendsWith(e, 1, map[string]string{
		"DYN_EXPECT": fmt.Sprintf("dyn://dynamo.backend.generate>=%d", count), "DYN_METRICS_PER_INSTANCE": "true",
	})[0]
	workers := w.startWorkersWith(e, 0, count, map[string]string{
		"DYN_HEALTH_CHECK_ENABLED": "true", "DYN_CANARY_WAIT_TIME": "1s", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT": "1s", "DYN_CANARY_STALL_BUDGET": "2s",
		"ETCD_LEASE_TTL": "60", // whoever is gone is to stay registered until all have been asked about it
	}, "generate")
	well := func() {
		t.Helper()
		front.awaitReady(t, settled, http.StatusOK, count)
		awaitVerdict(t, settled, []*frontend{front}, "ready", workers...)
		eventually(t, settled, "etcd is heard, and holds no junk", func() error {
			m, err := front.mesh(ask())
			if err == nil && (m.Discovery.State != "synced" || len(m.Warnings) > 0) {
				err = fmt.Errorf("it is %s, with warnings %q", m.Discovery.State, m.Warnings)
			}
			return err
		})
	}
	well()
	w.exitCodes(front, workers[0])
	for _, trouble := range w.troubles(e, workers) {
		trouble.inject()
		began := time.Now()
		eventually(t, settled, "/mesh says "+trouble.name, func() error {
			m, err := front.mesh(ask())
			if s := m.saying(trouble.victim); err == nil && !trouble.named(s) {
				err = fmt.Errorf("it says %+v", s)
			}
			return err
		})
		named := time.Now()
		lags := w.agree(front, trouble.victim, named)
		t.Logf("%s: /mesh after %v; then %s", trouble.name, millis(named.Sub(began)), lags)
		trouble.heal()
		well()
	}
}

// agree waits until all answers are what /mesh says at that time, and returns how long after it was
// named each of them had come. None that is asked for later than agreed may be another: how long a
// machine takes to start a process is not dynmesh's.
func (w *world) agree(f *frontend, victim *worker, named time.Time) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), settled)
	defer cancel()
	answers := w.answers(f)
	lags, errs := make([]string, len(answers)), make([]error, len(answers))
	var all sync.WaitGroup
	for n, a := range answers {
		all.Go(func() {
			for ctx.Err() == nil {
				late := w.pace.Since(named) > agreed
				errs[n] = f.holds(ctx, a, victim)
				lags[n] = fmt.Sprintf("%s %v", a.name, millis(time.Since(named)))
				if errs[n] == nil || late && !errors.Is(errs[n], errMoved) {
					return
				}
			}
		})
	}
	all.Wait()
	for n, err := range errs {
		if err != nil {
			w.t.Errorf("%s: %v", answers[n].name, err)
		}
	}
	return strings.Join(lags, ", ")
}

// errMoved is the error of an answer that cannot be held against /mesh, because that has changed
// meanwhile.
var errMoved = errors.New("/mesh says something else by now")

// holds asks, and returns in what the answer is another than what /mesh says both before and after
// it.
func (f *frontend) holds(ctx context.Context, a answer, victim *worker) error {
	before, err := f.mesh(ask())
	if err != nil {
		return err
	}
	s := before.saying(victim)
	differs := a.differs(ctx, s)
	after, err := f.mesh(ask())
	if err != nil {
		return err
	}
	if !after.saying(victim).equal(s) {
		return errMoved
	}
	return differs
}

// exitCodes holds the codes of commands against their help, where they are not those of a trouble.
func (w *world) exitCodes(f *frontend, known *worker) {
	w.t.Helper()
	gone := "http://" + nobody(w.t)
	for _, tt := range []struct {
		args string
		code int
	}{
		{"status --frontend " + f.url("/"), 0},
		{"status -o json --frontend " + f.url("/"), 0},
		{"status --frontend " + gone, 2},
		{fmt.Sprintf("explain %x --frontend %s", known.id, f.url("/")), 0},
		{"explain 0 --frontend " + f.url("/"), 1},
		{"explain nothing --frontend " + f.url("/"), 2},
		{fmt.Sprintf("explain %x --frontend %s", known.id, gone), 2},
	} {
		w.begin(strings.Fields(tt.args)...).ends(tt.code)
	}
}
