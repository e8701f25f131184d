package canary

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh"
)

func TestServedAnewWhileACanaryIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{})
		release := make(chan struct{})
		w.serve(Endpoint{Name: "generate", Probe: func(context.Context) error { <-release; return nil }})
		synctest.Wait()
		bad := &answering{}
		bad.err.Store(&dynmesh.Failure{Reason: dynmesh.ReasonEmpty})
		w.serve(Endpoint{Name: "generate", Probe: bad.probe})
		w.want("generate", "notready unchecked")
		close(release) // the canary of before passes
		w.want("generate", "notready fail(empty)")
		if s, _ := w.Status("generate"); s.Generation != 2 {
			t.Errorf("got generation %d, want 2", s.Generation)
		}
	})
}

func TestForgottenWhileACanaryIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{})
		p := &answering{closed: make(chan struct{})}
		p.hang.Store(true)
		p.deaf.Store(true)
		w.serve(Endpoint{Name: "generate", Probe: p.probe})
		synctest.Wait()
		w.Forget("generate")
		w.Forget("generate")
		w.want("generate", "unknown")
		w.serve(Endpoint{Name: "generate", Probe: p.probe}) // and it is back, before its canary has ended
		w.want("generate", "notready unchecked")
		p.hang.Store(false)
		close(p.closed)
		w.want("generate", "ready pass")
		if p.calls.Load() != 2 || p.most.Load() != 1 {
			t.Errorf("got %d canaries, %d at once, want 2, one after the other", p.calls.Load(), p.most.Load())
		}
		p.hang.Store(true)
		p.deaf.Store(false)
		time.Sleep(12 * time.Second)
		w.Forget("generate")
		time.Sleep(time.Minute)
		w.want("generate", "unknown")
		if p.now.Load() != 0 {
			t.Errorf("the canary of a forgotten endpoint goes on")
		}
	})
}

func TestProbesThatDoNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{MaxCanaries: 1})
		p := &answering{closed: make(chan struct{})}
		p.hang.Store(true)
		p.deaf.Store(true)
		w.serve(Endpoint{Name: "deaf", Probe: p.probe})
		other := &answering{}
		w.serve(Endpoint{Name: "other", Probe: other.probe})
		time.Sleep(10 * time.Second)
		w.want("deaf", "notready fail(timeout)")
		w.want("other", "ready pass") // the deaf one has lost its place
		if p.calls.Load() != 1 {
			t.Errorf("got %d canaries, want 1, which is still under way", p.calls.Load())
		}
		begun := time.Now()
		w.stop()
		if d := time.Since(begun); d != stopTimeout {
			t.Errorf("Run took %v to give up, want %v", d, stopTimeout)
		}
		if all := lines(w.log); !strings.Contains(all[len(all)-1], "ignores that it should end") {
			t.Errorf("the last line is %q, want it to tell of the probe", all[len(all)-1])
		}
		close(p.closed)
	})
}

// An endpoint that is not asked any more does not keep the place of its canary.
func TestProbesThatDoNotEndOfEndpointsThatDo(t *testing.T) {
	for name, end := range map[string]func(w *testMonitor){
		"forgotten": func(w *testMonitor) { w.Forget("deaf") },
		"drained":   func(w *testMonitor) { w.Drain("deaf") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := monitor(t, Config{MaxCanaries: 1})
				p := &answering{closed: make(chan struct{})}
				p.hang.Store(true)
				p.deaf.Store(true)
				w.serve(Endpoint{Name: "deaf", Probe: p.probe})
				time.Sleep(time.Second)
				end(w)
				other := &answering{}
				w.serve(Endpoint{Name: "other", Probe: other.probe})
				time.Sleep(10 * time.Second)
				w.want("other", "ready pass")
				close(p.closed)
			})
		})
	}
}

func TestRunEndsWithItsCanaries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{})
		p := &answering{}
		p.hang.Store(true)
		w.serve(Endpoint{Name: "generate", Probe: p.probe})
		synctest.Wait()
		changes := len(w.changes)
		begun := time.Now()
		w.stop()
		if d := time.Since(begun); d != 0 || p.now.Load() != 0 {
			t.Errorf("Run took %v to end, and left %d canaries", d, p.now.Load())
		}
		if len(w.changes) != changes {
			t.Errorf("its end says of the endpoint: %+v", w.changes[changes:])
		}
		if err := w.Serve(Endpoint{Name: "late"}); !errors.Is(err, ErrStopped) {
			t.Errorf("Serve: got %v, want %v", err, ErrStopped)
		}
		w.Drain()
		w.Forget("generate")
		if err := w.Run(t.Context()); err == nil {
			t.Errorf("Run: got nil for a second call")
		}
	})
}

func TestProbesThatPanicOrExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{})
		w.serve(Endpoint{Name: "panics", Probe: func(context.Context) error { panic("oh") }})
		w.serve(Endpoint{Name: "exits", Probe: func(context.Context) error { runtime.Goexit(); return nil }})
		w.want("panics", "notready fail(panic)")
		w.want("exits", "notready fail(error)")
	})
}
