package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// A vigil looks again and again, until it is ended, at something that must hold all the while.
type vigil struct {
	what string
	stop context.CancelFunc
	done sync.WaitGroup

	looks    int
	failures []error // the first of them
	failed   int
}

// throughout begins a vigil. Each looks on a connection of its own, so a slow answer to one holds
// up no other.
func (w *world) throughout(what string, every time.Duration, holds func(client *http.Client) error) *vigil {
	ctx, stop := context.WithCancel(context.Background())
	v := &vigil{what: what, stop: stop}
	v.done.Go(func() {
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			v.looks++
			if err := holds(client); err != nil {
				v.failed++
				if len(v.failures) < 3 {
					v.failures = append(v.failures, fmt.Errorf("%s: %w", time.Now().Format("15:04:05.000"), err))
				}
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	})
	w.t.Cleanup(func() { v.stop(); v.done.Wait() })
	return v
}

// end ends vigils and fails the test for what they saw.
func end(t *testing.T, vigils ...*vigil) {
	t.Helper()
	for _, v := range vigils {
		v.stop()
		v.done.Wait()
		if v.failed > 0 {
			t.Errorf("%s: did not hold in %d of %d looks; the first: %v", v.what, v.failed, v.looks, errors.Join(v.failures...))
			continue
		}
		t.Logf("%s: held in all of %d looks", v.what, v.looks)
	}
}

// alive begins vigils over what says that a process lives: /live of frontends, /livez of workers.
func (w *world) alive(frontends []*frontend, workers []*worker) []*vigil {
	var out []*vigil
	look := func(name, url string) {
		out = append(out, w.throughout(name+" answers that it lives", 50*time.Millisecond, func(client *http.Client) error {
			r, err := get(client, url)
			if err == nil && r.status != http.StatusOK {
				err = fmt.Errorf("got status %d from %s, want 200: %s", r.status, url, r.body)
			}
			return err
		}))
	}
	for _, f := range frontends {
		look(f.name(), f.url("/live"))
	}
	for _, worker := range workers {
		look(worker.name(), "http://"+worker.where().addr(systemPort)+"/livez")
	}
	return out
}

// census notes the lives of all these programs. The function that it returns fails the test if one
// has ended since, or has been replaced.
func (w *world) census(frontends []*frontend, workers []*worker) (check func()) {
	w.t.Helper()
	var all []program
	for _, f := range frontends {
		all = append(all, f)
	}
	for _, worker := range workers {
		all = append(all, worker)
	}
	var before []state
	for _, p := range all {
		s, err := p.state()
		w.must("state of "+p.where().name, err)
		before = append(before, s)
	}
	return func() {
		w.t.Helper()
		for i, p := range all {
			after, err := p.state()
			w.must("state of "+p.where().name, err)
			if !before[i].running || after != before[i] {
				w.t.Errorf("%s: got %v, want it %v as before", p.where().name, after, before[i])
			}
		}
	}
}
