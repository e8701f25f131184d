package canary

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/schedule"
	"github.com/dynmesh/dynmesh/internal/testkit"

	"github.com/dynmesh/dynmesh/worker/mocker"
)

// engine is the mock engine behind real HTTP, until the end of the test.
func runMock(t testing.TB) (*mocker.Engine, string) {
	t.Helper()
	e, err := mocker.New(mocker.Config{Model: "mock"})
	if err != nil {
		t.Fatalf("mocker.New: %v", err)
	}
	s, err := mocker.NewServer(mocker.ServerConfig{Engine: e})
	if err != nil {
		t.Fatalf("mocker.NewServer: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("mock server: %v", err)
		}
	})
	return e, "http://" + s.Addr()
}

func setKnobs(t testing.TB, e *mocker.Engine, k mocker.Knobs) {
	t.Helper()
	if err := e.SetKnobs(k); err != nil {
		t.Fatalf("SetKnobs: %v", err)
	}
}

// ask runs a probe once, with a deadline.
func ask(t testing.TB, probe Probe, timeout time.Duration) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	r := Check(ctx, probe)
	if r.Failure != nil {
		checkDetail(t, r.Failure)
	}
	return r
}

func reason(r Result) dynmesh.Reason {
	if r.Failure == nil {
		return ""
	}
	return r.Failure.Reason
}

// faults are the knobs of the mock engine, and what a canary must make of each.
func faults() []struct {
	name          string
	knobs         mocker.Knobs
	http, handler dynmesh.Reason
} {
	return []struct {
		name          string
		knobs         mocker.Knobs
		http, handler dynmesh.Reason
	}{
		{"healthy", mocker.Knobs{}, "", ""},
		{"slow, within the deadline", mocker.Knobs{FirstTokenDelay: 50 * time.Millisecond}, "", ""},
		{"slow to begin", mocker.Knobs{FirstTokenDelay: time.Hour}, dynmesh.ReasonTimeout, dynmesh.ReasonTimeout},
		{"behind a prefill", mocker.Knobs{Prefill: time.Hour}, dynmesh.ReasonTimeout, dynmesh.ReasonTimeout},
		{"status 500", mocker.Knobs{ErrorStatus: 500}, dynmesh.ReasonStatus, dynmesh.ReasonStatus},
		{"status 429", mocker.Knobs{ErrorStatus: 429}, dynmesh.ReasonBusy, dynmesh.ReasonBusy},
		{"error at once", mocker.Knobs{ErrorChunk: new(0)}, dynmesh.ReasonErrorChunk, dynmesh.ReasonErrorChunk},
		{"error after a token", mocker.Knobs{ErrorChunk: new(1)}, dynmesh.ReasonErrorChunk, dynmesh.ReasonErrorChunk},
		{"freeze at once", mocker.Knobs{Freeze: new(0)}, dynmesh.ReasonTimeout, dynmesh.ReasonTimeout},
		{"freeze after a token", mocker.Knobs{Freeze: new(1)}, dynmesh.ReasonFrozen, dynmesh.ReasonFrozen},
		{"drop at once", mocker.Knobs{Drop: new(0)}, dynmesh.ReasonCut, dynmesh.ReasonError},
		{"drop after a token", mocker.Knobs{Drop: new(1)}, dynmesh.ReasonCut, dynmesh.ReasonError},
		{"refuse", mocker.Knobs{Refuse: true}, dynmesh.ReasonRefused, dynmesh.ReasonStatus},
		{"empty", mocker.Knobs{Empty: true}, dynmesh.ReasonEmpty, dynmesh.ReasonEmpty},
	}
}

// vLLM's canary, which the mock engine takes as well.
const (
	mockPath   = "/v1/completions"
	mockCanary = `{"model":"mock","prompt":[1],"temperature":0,"max_tokens":1,"stream":true}`
)

func mockProbe(t testing.TB, url string) Probe {
	t.Helper()
	probe, err := HTTP(HTTPConfig{URL: url + mockPath, Body: json.RawMessage(mockCanary), WantDone: true})
	if err != nil {
		t.Fatalf("HTTP: %v", err)
	}
	return probe
}

// awaitRefuse waits until an engine does what its knob says: its listener takes a moment.
func awaitRefuse(t testing.TB, probe Probe, refuse bool) {
	t.Helper()
	testkit.Eventually(t, patience, fmt.Sprint("the engine does what its knob refuse says: ", refuse), func() bool {
		return (reason(ask(t, probe, time.Second)) == dynmesh.ReasonRefused) == refuse
	})
}

func TestFaultsOverHTTP(t *testing.T) {
	for _, tt := range faults() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, url := runMock(t)
			probe := mockProbe(t, url)
			setKnobs(t, e, tt.knobs)
			if tt.knobs.Refuse {
				awaitRefuse(t, probe, true)
			}
			timeout := patience
			if schedule.IsLate(tt.http) {
				timeout = 300 * time.Millisecond
			}
			if r := ask(t, probe, timeout); reason(r) != tt.http {
				t.Errorf("got %v (%d chunks: %s), want %q", r.Failure, r.Chunks, r.Sample, tt.http)
			}
			setKnobs(t, e, mocker.Knobs{}) // and it is seen to be well again
			awaitRefuse(t, probe, false)
			r := ask(t, probe, patience)
			if r.Failure != nil || r.Chunks != 1 || r.FirstChunk <= 0 || r.Total < r.FirstChunk {
				t.Errorf("mended: got %+v (%v), want a pass with one chunk and its times", r, r.Failure)
			}
		})
	}
}

func TestFaultsOfHandler(t *testing.T) {
	for _, tt := range faults() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := mocker.New(mocker.Config{Model: "mock", Knobs: tt.knobs})
			if err != nil {
				t.Fatalf("mocker.New: %v", err)
			}
			probe := Handler(e.Generate, json.RawMessage(mockCanary))
			timeout := patience
			if schedule.IsLate(tt.handler) {
				timeout = 300 * time.Millisecond
			}
			if r := ask(t, probe, timeout); reason(r) != tt.handler {
				t.Errorf("got %v, want %q", r.Failure, tt.handler)
			}
			setKnobs(t, e, mocker.Knobs{})
			if r := ask(t, probe, patience); r.Failure != nil {
				t.Errorf("mended: got %v, want a pass", r.Failure)
			}
		})
	}
}

// Each fault alone, while idle, is found within wait + timeout, and so is the recovery.
func TestMonitorOverHTTP(t *testing.T) {
	const wait, timeout = 50 * time.Millisecond, 150 * time.Millisecond
	e, url := runMock(t)
	w := monitor(t, Config{Wait: wait, Timeout: timeout})
	w.serve(Endpoint{Name: "generate", Probe: mockProbe(t, url)})
	until := func(name, want string) time.Duration {
		t.Helper()
		begun := time.Now()
		for w.says("generate") != want {
			if time.Since(begun) > patience {
				t.Fatalf("%s: got %q, want %q", name, w.says("generate"), want)
			}
			time.Sleep(time.Millisecond)
		}
		return time.Since(begun)
	}
	until("at first", "ready pass")
	for _, tt := range faults() {
		if tt.http == "" || tt.http == dynmesh.ReasonBusy { // which is no fault
			continue
		}
		setKnobs(t, e, tt.knobs)
		// Wide, since the machine may be busy; what is exact is in the tests on virtual time.
		if d := until(tt.name, fmt.Sprintf("notready fail(%s)", tt.http)); d > 10*(wait+timeout) {
			t.Errorf("%s: found after %v", tt.name, d)
		}
		setKnobs(t, e, mocker.Knobs{})
		if d := until(tt.name, "ready pass"); d > 20*wait {
			t.Errorf("%s: recovery found after %v", tt.name, d)
		}
	}
}

// What is not streamed, and worker's own answers, are judged as well.
func TestOtherAnswersOverHTTP(t *testing.T) {
	e, url := runMock(t)
	probe, err := HTTP(HTTPConfig{URL: url + "/v1/completions", Body: json.RawMessage(`{"prompt":"x","stream":false}`), WantDone: true})
	if err != nil {
		t.Fatalf("HTTP: %v", err)
	}
	if r := ask(t, probe, patience); r.Failure != nil || r.Chunks != 1 {
		t.Errorf("one document: got %+v, %v, want a pass", r, r.Failure)
	}
	setKnobs(t, e, mocker.Knobs{Empty: true})
	if r := ask(t, probe, patience); reason(r) != dynmesh.ReasonEmpty {
		t.Errorf("one document without text: got %v, want %v", r.Failure, dynmesh.ReasonEmpty)
	}
	get, err := HTTP(HTTPConfig{URL: url + "/health"})
	if err != nil {
		t.Fatalf("HTTP: %v", err)
	}
	if r := ask(t, get, patience); r.Failure != nil {
		t.Errorf("GET: got %v, want a pass", r.Failure)
	}
}
