package sidecar

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/mocker"
)

// Requests that go around the sidecar show, canaries and requests that hang do not vouch for
// anything.
func TestActivity(t *testing.T) {
	e, server, _ := runMock(t, "mock", "")
	s := runSidecar(t, Config{Backend: "http://" + server.Addr(), Activity: ActivityMetrics})
	activity := func() canary.Activity {
		a := s.Activity(nil)()
		a.Steps = 0 // as many as there were readings between
		return a
	}
	testkit.Eventually(t, patience, "the counters are read", func() bool { return !s.poller.last.Load().at.IsZero() })
	if got := activity(); got != (canary.Activity{}) {
		t.Errorf("got %+v, want nothing", got)
	}
	if err := complete(t.Context(), server.Addr()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, "three tokens and the end of a request", func() bool {
		return activity() == canary.Activity{Completed: 1, Progress: 4}
	})

	setKnobs(t, e, mocker.Knobs{Freeze: new(0)})
	leave := background(t, func(ctx context.Context) error {
		_ = complete(ctx, server.Addr()) // ends with ctx
		return nil
	})
	testkit.Eventually(t, patience, "a request in flight", func() bool { return activity() == canary.Activity{InFlight: 1, Completed: 1, Progress: 4} })
	leave()
	testkit.Eventually(t, patience, "it has left", func() bool { return activity() == canary.Activity{Completed: 1, Progress: 4} })
}

// Counters that cannot be read say nothing, and are said so once.
func TestCountersAway(t *testing.T) {
	var broken atomic.Value
	broken.Store("")
	url := testkit.RawServer(t, func(conn *net.TCPConn, _ string) {
		answer := broken.Load().(string)
		if answer == "hang" {
			testkit.UntilGone(conn)
			return
		}
		if answer == "" {
			answer = "HTTP/1.1 200 OK\r\n\r\nvllm:num_requests_running 3\nvllm:generation_tokens_total 7\n"
		}
		_, _ = io.WriteString(conn, answer)
	})
	log, hook := logger()
	var note atomic.Value
	note.Store("")
	s := newSidecar(t, Config{Backend: url, Activity: ActivityMetrics, Log: log, OnNote: func(text string) { note.Store(text) }})
	background(t, func(ctx context.Context) error {
		s.poller.run(ctx, 20*time.Millisecond)
		return nil
	})
	for _, how := range []string{"HTTP/1.1 404 Not Found\r\n\r\nvllm:num_requests_running 3\n", "hang", "HTTP/1.1 200 OK\r\n\r\ngo_goroutines 1\n", "SSH\r\n"} {
		hook.Reset()
		testkit.Eventually(t, patience, "the counters are read", func() bool { return s.Activity(nil)().InFlight == 3 })
		broken.Store(how)
		testkit.Eventually(t, patience, "it is said", func() bool { return lines(hook) == "Engine's counters cannot be read: its activity is unknown" })
		read := s.poller.last.Load()
		if got := read.activityAt(read.at.Add(maxAge + 1)); got != (canary.Activity{}) {
			t.Errorf("%q: got %+v, want nothing in flight", how, got)
		}
		if got := note.Load().(string); !strings.HasPrefix(got, "the engine's counters cannot be read: ") || readable(t, s) != 0 {
			t.Errorf("%q: noted %q, and the metric is %v", how, got, readable(t, s))
		}
		broken.Store("")
		testkit.Eventually(t, patience, "it is said, too", func() bool {
			return lines(hook) == "Engine's counters cannot be read: its activity is unknown, Engine's counters can be read again"
		})
	}
}

// readable is dynmesh_engine_counters_readable, or -1 where there is none.
func readable(t *testing.T, s *Sidecar) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "dynmesh_engine_counters_readable" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return -1
}

// With the proxy's activity, the counters are read while there are requests, or a canary, and some
// time on: to read them may keep the engine awake.
func TestCountersAreReadWhenThereIsSomethingToSee(t *testing.T) {
	_, server, _ := runMock(t, "mock", "")
	s := runSidecar(t, Config{Backend: "http://" + server.Addr()})
	var requests atomic.Uint64
	activity := s.Activity(func() canary.Activity { return canary.Activity{InFlight: requests.Load(), Progress: 7} })
	if got := activity(); got != (canary.Activity{Progress: 7}) || readable(t, s) != -1 {
		t.Errorf("got %+v, want the traffic's alone, and nothing read", got)
	}
	requests.Store(1)
	testkit.Eventually(t, patience, "the counters are read", func() bool { return activity().InFlight == 1 && readable(t, s) == 1 })
	if err := complete(t.Context(), server.Addr()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, "the engine has moved", func() bool { a := activity(); return a.Steps > 0 && a.Progress == 7 })
	requests.Store(0)
	activity()
	testkit.Eventually(t, patience, "nobody reads any more", func() bool { return time.Since(s.poller.last.Load().at) > lingers/2 })
}

// llama.cpp finds a second without a reading between two, and none after the last request: it looks
// after clients that have left then.
func TestCountersLeaveLlamaTime(t *testing.T) {
	const counters = "GET /metrics?model=m&autoload=false"
	f := &fake{answers: map[string]string{"GET /v1/models": models("llamacpp"), "GET /props": `{"is_sleeping":false}`,
		counters: "HTTP/1.1 200 OK\r\n\r\nllamacpp:n_decode_total 1\n"}}
	s := runSidecar(t, Config{Backend: f.serve(t), Engine: "auto"})
	testkit.Eventually(t, patience, "the engine is known", func() bool { return s.Engine() == "llamacpp" })
	_ = check(t, s) // finds it awake
	requests := uint64(1)
	activity := s.Activity(func() canary.Activity { return canary.Activity{InFlight: requests} })
	read := func() time.Time { return s.poller.last.Load().at }
	before, first := read(), time.Time{}
	testkit.Eventually(t, patience, "the counters are read", func() bool { activity(); first = read(); return first.After(before) })
	testkit.Eventually(t, patience, "and again", func() bool { return read().After(first) })
	if took := read().Sub(first); took < time.Second {
		t.Errorf("they were read twice within %v", took)
	}
	requests = 0
	activity()
	testkit.Eventually(t, patience, "nobody reads when there is nothing to see", func() bool {
		before := f.count(counters)
		<-time.After(1500 * time.Millisecond)
		return f.count(counters) == before
	})
}

// An engine that sleeps is not woken by a look at its counters.
func TestCountersOfWhoSleeps(t *testing.T) {
	f := &fake{answers: map[string]string{"GET /v1/models": models("llamacpp"), "GET /props": `{"is_sleeping":true}`,
		"GET /metrics?model=m&autoload=false": "HTTP/1.1 200 OK\r\n\r\nllamacpp:n_decode_total 1\n"}}
	s := runSidecar(t, Config{Backend: f.serve(t), Engine: "auto", Activity: ActivityMetrics})
	testkit.Eventually(t, patience, "the engine is known", func() bool { return s.Engine() == "llamacpp" })
	const counters = "GET /metrics?model=m&autoload=false"
	leftAlone := func() bool {
		before := f.count(counters)
		<-time.After(5 * s.intervals.metrics)
		return f.count(counters) == before
	}
	if got := check(t, s); got.Unasked == "" || !leftAlone() || f.count(counters) > 0 {
		t.Fatalf("got %v, and the counters were read %d times", got.Failure, f.count(counters))
	}
	f.set("GET /props", `{"is_sleeping":false}`)
	_ = check(t, s) // whatever comes of it, it finds the engine awake
	testkit.Eventually(t, patience, "its counters are read", func() bool { return f.count(counters) > 0 })
	f.set("GET /props", `{"is_sleeping":true}`)
	_ = check(t, s)
	testkit.Eventually(t, patience, "they are left alone again", leftAlone)

	// A request wakes it, and whether it hangs then is of interest.
	s = runSidecar(t, Config{Backend: "http://" + s.client.root.Host, Engine: "auto"})
	if got := check(t, s); got.Unasked == "" {
		t.Fatalf("got %v", got.Failure)
	}
	before := f.count(counters)
	s.Activity(func() canary.Activity { return canary.Activity{InFlight: 1} })()
	testkit.Eventually(t, patience, "its counters are read beside a request", func() bool { return f.count(counters) > before })
}

// The counters are read after each canary, so that what it moved is seen before it may be taken for
// a request's doing.
func TestCanaryHurriesCounters(t *testing.T) {
	_, server, _ := runMock(t, "mock", "")
	s := newSidecar(t, Config{Backend: "http://" + server.Addr(), Activity: ActivityMetrics})
	s.intervals.metrics = patience * 10
	background(t, s.Run)
	testkit.Eventually(t, patience, "the counters are read at first", func() bool { return !s.poller.last.Load().at.IsZero() })
	first := s.poller.last.Load().at
	if r := check(t, s); r.Failure != nil {
		t.Fatalf("got %v, want a pass", r.Failure)
	}
	testkit.Eventually(t, patience, "the counters are read again", func() bool { return s.poller.last.Load().at.After(first) })
}

// monitored is a sidecar's endpoint under a monitor, with its counters for an activity.
func monitored(t *testing.T, s *Sidecar, cfg canary.Config) func() canary.Status {
	t.Helper()
	m, err := canary.NewMonitor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Serve(canary.Endpoint{Name: "generate", Probe: s.Probe(), Activity: s.Activity(nil), CountsCanaries: true}); err != nil {
		t.Fatal(err)
	}
	background(t, m.Run)
	return func() canary.Status {
		now, _ := m.Status("generate")
		return now
	}
}

// The engine counts its canaries; none of them vouches for it, and its traffic does.
func TestMonitoredByCounters(t *testing.T) {
	t.Parallel() // it takes seconds, and does little
	e, server, _ := runMock(t, "mock", "")
	s := runSidecar(t, Config{Backend: "http://" + server.Addr(), Activity: ActivityMetrics})
	setKnobs(t, e, mocker.Knobs{Freeze: new(1)}) // each canary gets one token, and then nothing
	log, hook := logger()
	// Wait is longer than the 2 s for which progress may be a canary's.
	status := monitored(t, s, canary.Config{
		Wait: 3 * time.Second, Timeout: 100 * time.Millisecond, Recheck: 50 * time.Millisecond, Log: log,
	})
	testkit.Eventually(t, patience, "five canaries have failed", func() bool {
		if now := status(); now.Ready {
			t.Fatalf("ready by a canary that froze: %+v", now)
		}
		return strings.Count(lines(hook), "Health check timeout for generate") == 5
	})
	setKnobs(t, e, mocker.Knobs{})
	testkit.Eventually(t, patience, "ready by a canary", func() bool { return status().Ready })

	// Traffic around the sidecar keeps canaries away: the finding is that of traffic.
	background(t, func(ctx context.Context) error {
		for ctx.Err() == nil {
			_ = complete(ctx, server.Addr()) // ends with ctx
		}
		return nil
	})
	testkit.Eventually(t, patience, "busy with traffic", func() bool { return status().Finding == dynmesh.Busy && status().Ready })
}
