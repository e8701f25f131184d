package sidecar

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/worker/engine"
)

func TestReading(t *testing.T) {
	type step struct {
		after time.Duration // since the step before
		t     engine.Totals
	}
	second := func(t engine.Totals) step { return step{time.Second, t} }
	for _, tt := range []struct {
		name     string
		stepwise bool
		steps    []step
		want     canary.Activity
	}{
		{"the first scrape counts nothing", false,
			[]step{second(engine.Totals{engine.Tokens: 100, engine.Completed: 10, engine.InFlight: 2})},
			canary.Activity{InFlight: 2}},
		{"tokens and ends", false,
			[]step{second(engine.Totals{engine.Tokens: 100, engine.Completed: 10}), second(engine.Totals{engine.Tokens: 107, engine.Completed: 11})},
			canary.Activity{Completed: 1, Progress: 8, Steps: 1}},
		{"what clients abandon proves nothing", false,
			[]step{second(engine.Totals{}), second(engine.Totals{engine.Aborted: 3})},
			canary.Activity{Failed: 3, Progress: 3}},
		{"what the engine fails is its error", false,
			[]step{second(engine.Totals{}), second(engine.Totals{engine.Failed: 2})},
			canary.Activity{Failed: 2, Errors: 2, Progress: 2}},
		{"it adds up", false,
			[]step{second(engine.Totals{engine.Tokens: 1}), second(engine.Totals{engine.Tokens: 2}), second(engine.Totals{engine.Tokens: 4})},
			canary.Activity{Progress: 3, Steps: 2}},
		{"across a gap nothing counts", false,
			[]step{second(engine.Totals{engine.Tokens: 1}), {2100 * time.Millisecond, engine.Totals{engine.Tokens: 9, engine.Completed: 1, engine.InFlight: 1}}},
			canary.Activity{InFlight: 1, Steps: 1}},
		{"and then it goes on", false,
			[]step{second(engine.Totals{engine.Tokens: 1}), {3 * time.Second, engine.Totals{engine.Tokens: 9}}, second(engine.Totals{engine.Tokens: 10})},
			canary.Activity{Progress: 1, Steps: 2}},
		{"an engine that began again", false,
			[]step{second(engine.Totals{engine.Tokens: 100, engine.Completed: 2}), second(engine.Totals{engine.Tokens: 5, engine.Completed: 3}), second(engine.Totals{engine.Tokens: 6, engine.Completed: 3})},
			canary.Activity{Progress: 1, Steps: 2}},
		{"the larger of two gauges", false,
			[]step{second(engine.Totals{engine.InFlight: 2, engine.Queued: 5})},
			canary.Activity{InFlight: 5}},
		{"a beat", true,
			[]step{second(engine.Totals{engine.Gauge: 0.1}), second(engine.Totals{engine.Gauge: 0.2, engine.InFlight: 1}), second(engine.Totals{engine.Gauge: 0.2, engine.InFlight: 1}), second(engine.Totals{engine.Gauge: 0.1, engine.InFlight: 1})},
			canary.Activity{InFlight: 1, Steps: 2}},
		{"a gauge that nothing moves is believed for a while", true,
			[]step{second(engine.Totals{engine.Tokens: 1}), second(engine.Totals{engine.Tokens: 2, engine.InFlight: 1}), {gaugeTrust, engine.Totals{engine.Tokens: 2, engine.InFlight: 1}}},
			canary.Activity{InFlight: 1, Progress: 1, Steps: 1}},
		{"and is doubtful then", true,
			[]step{second(engine.Totals{engine.Tokens: 1}), second(engine.Totals{engine.Tokens: 2, engine.InFlight: 1}), {gaugeTrust + 1, engine.Totals{engine.Tokens: 2, engine.InFlight: 1}}},
			canary.Activity{InFlight: 1, Progress: 1, Steps: 1, StaleGauges: true}},
		{"one of nothing is beyond doubt", true,
			[]step{second(engine.Totals{engine.Tokens: 1}), second(engine.Totals{engine.Tokens: 2}), {gaugeTrust + 1, engine.Totals{engine.Tokens: 2}}},
			canary.Activity{Progress: 1, Steps: 1}},
		{"one that does not need steps is", false,
			[]step{second(engine.Totals{engine.Tokens: 1}), second(engine.Totals{engine.Tokens: 2, engine.InFlight: 1}), {time.Hour, engine.Totals{engine.Tokens: 2, engine.InFlight: 1}}},
			canary.Activity{InFlight: 1, Progress: 1, Steps: 1}},
	} {
		var r sample
		at := time.Now()
		for _, s := range tt.steps {
			at = at.Add(s.after)
			r = r.next(engine.Scrape{Totals: s.t}, at, tt.stepwise)
		}
		if got := r.activityAt(at); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
		tt.want.InFlight, tt.want.StaleGauges = 0, false
		if got := r.activityAt(at.Add(maxAge + 1)); got != tt.want {
			t.Errorf("%s, stale: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// One of several engines behind a server that has requests and takes no step is named, after a
// while.
func TestRankStandsStill(t *testing.T) {
	busy := func(tokens, other float64) engine.Scrape {
		return engine.Scrape{Ranks: map[string]engine.Totals{
			"0": {engine.InFlight: 1, engine.Tokens: tokens}, "1": {engine.InFlight: 2, engine.Tokens: other},
		}}
	}
	idle := engine.Scrape{Ranks: map[string]engine.Totals{"0": {}, "1": {engine.Tokens: 7}}}
	for _, tt := range []struct {
		name    string
		scrapes []engine.Scrape // a second apart
		want    string
	}{
		{"both step", []engine.Scrape{busy(1, 1), busy(2, 2), busy(3, 3), busy(4, 4), busy(5, 5)}, ""},
		{"one does not, not for long", []engine.Scrape{busy(1, 7), busy(2, 7), busy(3, 7)}, ""},
		{"one does not", []engine.Scrape{busy(1, 7), busy(2, 7), busy(3, 7), busy(4, 7)}, "rank 1 of 2 stands still"},
		{"both do not", []engine.Scrape{busy(1, 7), busy(1, 7), busy(1, 7), busy(1, 7)}, "rank 0 of 2 stands still"},
		{"it had nothing to do", []engine.Scrape{busy(1, 7), busy(2, 7), idle, busy(4, 7), busy(5, 7)}, ""},
		{"it steps again", []engine.Scrape{busy(1, 7), busy(2, 7), busy(3, 7), busy(4, 7), busy(5, 8)}, ""},
		{"one engine alone", []engine.Scrape{{}, {}, {}, {}, {}}, ""},
	} {
		var r sample
		at := time.Now()
		for _, s := range tt.scrapes {
			at = at.Add(time.Second)
			r = r.next(s, at, false)
		}
		if got := r.activityAt(at).Still; got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if got := r.next(tt.scrapes[len(tt.scrapes)-1], at.Add(maxAge+1), false).activity.Still; got != "" {
			t.Errorf("%s, across a gap: got %q, want nothing", tt.name, got)
		}
	}
}

// What the counters say of a rank is said beside what the proxy knows of requests.
func TestStillBesideRequests(t *testing.T) {
	var p poller
	p.last.Store(&sample{at: time.Now(), activity: canary.Activity{InFlight: 3, Steps: 4, Still: "rank 1 of 2 stands still"}})
	want := canary.Activity{InFlight: 2, Progress: 9, Engine: 3, Steps: 4, Still: "rank 1 of 2 stands still"}
	if got := p.add(canary.Activity{InFlight: 2, Progress: 9}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Canaries go to each of several engines behind a server, once it is known how many there are.
func TestCanariesGoToEachRank(t *testing.T) {
	var mu sync.Mutex
	pinned := map[string]int{}
	dead := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics":
			_, _ = io.WriteString(w, "vllm:generation_tokens_total{engine=\"0\"} 1\nvllm:generation_tokens_total{engine=\"1\"} 1\n")
		case "/v1/models":
			_, _ = io.WriteString(w, `{"data":[{"id":"m","owned_by":"vllm"}]}`)
		case "/v1/completions":
			rank := r.Header.Get("X-Data-Parallel-Rank")
			mu.Lock()
			pinned[rank]++
			hangs := rank != "" && rank == dead
			mu.Unlock()
			if hangs {
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: {\"choices\":[{\"text\":\"x\",\"finish_reason\":\"stop\"}],\"usage\":{\"completion_tokens\":1}}\n\ndata: [DONE]\n\n")
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	s, err := New(Config{Backend: server.URL, Engine: "vllm"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.client.http.CloseIdleConnections()
	if got := canary.Check(t.Context(), s.Probe()); got.Failure != nil || got.Unasked != "" {
		t.Fatalf("the first canary: %+v", got)
	}
	scrape, err := sourceFor(t, s).read(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	first := s.poller.last.Load().next(scrape, time.Now(), false)
	s.poller.last.Store(&first)
	if got := canary.Check(t.Context(), s.Probe()); got.Failure != nil {
		t.Errorf("both answer: %v", got.Failure)
	}
	mu.Lock()
	if want := map[string]int{"": 2, "0": 1, "1": 1}; !maps.Equal(pinned, want) {
		t.Errorf("canaries by rank: %v, want %v", pinned, want)
	}
	dead = "1"
	mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if f := canary.Check(ctx, s.Probe()).Failure; f == nil || f.Reason != dynmesh.ReasonTimeout || !strings.HasPrefix(f.Detail, "rank 1 of 2: ") {
		t.Errorf("one is dead: %v, want a timeout of rank 1 of 2", f)
	}
}

// Requests can be pinned to ranks that are counted from 0, and to no more than a machine can have.
func TestPinnable(t *testing.T) {
	of := func(names ...int) ranksMoved {
		r := ranksMoved{}
		for _, n := range names {
			r[fmt.Sprint(n)] = time.Time{}
		}
		return r
	}
	many := make([]int, maxPinned+1)
	for n := range many {
		many[n] = n
	}
	for _, tt := range []struct {
		ranks []int
		want  int
	}{{nil, 0}, {[]int{0, 1}, 2}, {[]int{4, 5}, 0}, {many[:maxPinned], maxPinned}, {many, 0}} {
		if got := of(tt.ranks...).pinnable(); got != tt.want {
			t.Errorf("of %v: got %d, want %d", tt.ranks, got, tt.want)
		}
	}
}

// sourceFor is where the counters of a sidecar's engine are read.
func sourceFor(t *testing.T, s *Sidecar) source {
	t.Helper()
	found, ok := s.monitor.current()
	if !ok {
		t.Fatal("nothing is known of the engine")
	}
	return s.poller.sourceOf(found, source{})
}
