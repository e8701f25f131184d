package canary

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
)

// watch runs a monitor until the end of the test, or until stop.
type testMonitor struct {
	*Monitor
	t       testing.TB
	log     *logtest.Hook
	stop    func() // and waits
	changes []Status
	mu      sync.Mutex
}

func monitor(t testing.TB, cfg Config) *testMonitor {
	t.Helper()
	logger, hook := logtest.NewNullLogger()
	w := &testMonitor{t: t, log: hook}
	cfg.Log = logrus.NewEntry(logger)
	cfg.OnChange = func(s Status) {
		w.mu.Lock()
		w.changes = append(w.changes, s)
		w.mu.Unlock()
	}
	var err error
	if w.Monitor, err = NewMonitor(cfg); err != nil {
		t.Fatalf("NewMonitor: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

func (w *testMonitor) serve(e Endpoint) {
	w.t.Helper()
	if err := w.Serve(e); err != nil {
		w.t.Fatalf("Serve: %v", err)
	}
}

// says tells in short what the monitor knows of an endpoint.
func (w *testMonitor) says(name string) string {
	s, ok := w.Status(name)
	if !ok {
		return "unknown"
	}
	word := "notready"
	if s.Ready {
		word = "ready"
	}
	if s.Draining {
		word += " draining"
	}
	if s.Reason != "" {
		return fmt.Sprintf("%s %s(%s)", word, s.Finding, s.Reason)
	}
	return word + " " + string(s.Finding)
}

func (w *testMonitor) want(name, want string) {
	w.t.Helper()
	synctest.Wait()
	if got := w.says(name); got != want {
		w.t.Errorf("at %v: %s is %q, want %q", time.Since(w.start), name, got, want)
	}
}

// answering is a probe that does what it is told, and counts.
type answering struct {
	err    atomic.Pointer[dynmesh.Failure]
	hang   atomic.Bool
	deaf   atomic.Bool // while it hangs, it does not hear that it should end
	calls  atomic.Int64
	now    atomic.Int64
	most   atomic.Int64
	closed chan struct{}
}

func (p *answering) probe(ctx context.Context) error {
	p.calls.Add(1)
	n := p.now.Add(1)
	defer p.now.Add(-1)
	for most := p.most.Load(); n > most && !p.most.CompareAndSwap(most, n); most = p.most.Load() {
	}
	if p.hang.Load() {
		if p.deaf.Load() {
			<-p.closed
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}
	if f := p.err.Load(); f != nil {
		return f
	}
	return nil
}

func lines(hook *logtest.Hook) []string {
	var all []string
	for _, e := range hook.AllEntries() {
		all = append(all, strings.ToUpper(e.Level.String())+" "+e.Message)
	}
	return all
}

func TestLogLinesAreDynamos(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{})
		calls := 0
		w.serve(Endpoint{Name: "generate", Probe: func(ctx context.Context) error {
			switch calls++; calls {
			case 1:
				return nil
			case 2:
				<-ctx.Done()
				return ctx.Err()
			default:
				return &dynmesh.Failure{Reason: dynmesh.ReasonRefused, Detail: "connection refused"}
			}
		}})
		time.Sleep(17 * time.Second)
		w.stop()
		want := []string{
			"INFO Health check manager started (canary_wait_time: 10s, request_timeout: 3s)",
			"INFO Spawned health check task for endpoint: generate",
			"INFO Canary timer expired for generate, sending health check",
			"INFO Health check successful for generate",
			"INFO Canary timer expired for generate, sending health check",
			"WARNING Health check timeout for generate",
			"INFO Canary timer expired for generate, sending health check",
			"ERROR Health check request failed for generate: connection refused",
		}
		if got := lines(w.log); !slices.Equal(got[:min(len(got), len(want))], want) {
			t.Errorf("got lines\n%s\nwant them to begin\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestMonitorFollowsAnEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{})
		p := &answering{}
		p.err.Store(&dynmesh.Failure{Reason: dynmesh.ReasonRefused})
		w.want("generate", "unknown")
		w.serve(Endpoint{Name: "generate", Probe: p.probe})
		w.serve(Endpoint{Name: "bare"})
		w.want("generate", "notready fail(refused)")
		w.want("bare", "ready unchecked")
		time.Sleep(30 * time.Second)
		p.err.Store(nil) // it comes up
		time.Sleep(11 * time.Second)
		w.want("generate", "ready pass")
		p.err.Store(&dynmesh.Failure{Reason: dynmesh.ReasonErrorChunk, Detail: "no"}) // goes away
		time.Sleep(11 * time.Second)
		w.want("generate", "notready fail(error_chunk)")
		p.err.Store(nil) // and comes back: seen with the next recheck
		time.Sleep(12 * time.Second)
		w.want("generate", "ready pass")
		w.Drain()
		w.want("generate", "notready draining pass")
		w.want("bare", "notready draining unchecked")
		calls := p.calls.Load()
		time.Sleep(time.Minute)
		if p.calls.Load() != calls {
			t.Errorf("got canaries while draining")
		}
		w.serve(Endpoint{Name: "generate", Probe: p.probe})
		w.want("generate", "ready pass")
		w.Forget("generate")
		w.want("generate", "unknown")
		if got := len(w.Statuses()); got != 1 {
			t.Errorf("got %d endpoints, want 1", got)
		}
		if p.most.Load() != 1 {
			t.Errorf("got %d canaries at once", p.most.Load())
		}
	})
}

// Whoever hears that an endpoint may be back says so, and it need not wait for its pause.
func TestRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{})
		down, up := &answering{}, &answering{}
		down.err.Store(&dynmesh.Failure{Reason: dynmesh.ReasonRefused})
		w.serve(Endpoint{Name: "down", Probe: down.probe})
		w.serve(Endpoint{Name: "up", Probe: up.probe})
		time.Sleep(16 * time.Second) // 1, 2, 4 and 8 s of pauses are over, about
		down.err.Store(nil)
		w.Recheck("unknown", "up")
		w.want("down", "notready fail(refused)")
		calls := up.calls.Load()
		w.Recheck()
		w.want("down", "ready pass")
		if got := up.calls.Load(); got != calls {
			t.Errorf("got %d canaries of one that is ready, want none", got-calls)
		}
	})
}

func TestAThousandRequestsASecondNeedNoCanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{})
		p := &answering{}
		var progress atomic.Uint64
		w.serve(Endpoint{Name: "generate", Probe: p.probe, Activity: func() Activity { return Activity{Progress: progress.Load()} }})
		synctest.Wait()
		for range 60_000 {
			progress.Add(1)
			time.Sleep(time.Millisecond)
		}
		if got := p.calls.Load(); got != 1 { // the first, before there was traffic
			t.Errorf("got %d canaries, want 1", got)
		}
		w.want("generate", "ready busy")
		time.Sleep(12 * time.Second)
		w.want("generate", "ready pass")
	})
}

func TestPrefillThatBlocksEverythingAndThenAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{})
		p := &answering{}
		var activity atomic.Pointer[Activity]
		activity.Store(&Activity{})
		w.serve(Endpoint{Name: "generate", Probe: p.probe, Activity: func() Activity { return *activity.Load() }})
		time.Sleep(5 * time.Second)
		p.hang.Store(true)
		for i := range uint64(10) { // each blocks for a minute
			activity.Store(&Activity{InFlight: 5, Progress: i})
			for range 60 {
				time.Sleep(time.Second)
				if got := w.says("generate"); !strings.HasPrefix(got, "ready") {
					t.Fatalf("at %v: got %q during a prefill", time.Since(w.start), got)
				}
			}
		}
		if got := p.calls.Load(); got != 1 {
			t.Errorf("got %d canaries, want 1", got)
		}
		time.Sleep(239 * time.Second)
		w.want("generate", "ready busy")
		time.Sleep(5 * time.Second)
		w.want("generate", "notready stalled")
		if s, _ := w.Status("generate"); !strings.HasPrefix(s.Detail, "5 in flight, no progress for 5m") || !strings.HasSuffix(s.Detail, ", nor a canary answered") {
			t.Errorf("got detail %q", s.Detail)
		}
		activity.Store(&Activity{InFlight: 5, Progress: 99})
		time.Sleep(time.Second)
		w.want("generate", "ready busy")
	})
}

func TestMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{})
		p := &answering{}
		w.serve(Endpoint{Name: "generate", Probe: p.probe})
		synctest.Wait()
		if err := w.Maintain(10*time.Minute, "weights\nand more"); err != nil {
			t.Fatal(err)
		}
		p.hang.Store(true)
		time.Sleep(9 * time.Minute)
		w.want("generate", "ready pass")
		late := &answering{}
		late.hang.Store(true)
		w.serve(Endpoint{Name: "late", Probe: late.probe}) // what is served meanwhile has time, too
		time.Sleep(30 * time.Second)
		w.want("late", "notready unchecked")
		if until, why, ok := w.Maintenance(); !ok || why != "weights and more" || time.Until(until) != 30*time.Second {
			t.Errorf("got %v, %q, %v", until, why, ok)
		}
		time.Sleep(34 * time.Second)
		w.want("generate", "notready fail(timeout)")
		w.want("late", "notready fail(timeout)")
		if _, _, ok := w.Maintenance(); ok {
			t.Errorf("maintenance did not end by itself")
		}
		if !slices.Contains(lines(w.log), "INFO Maintenance is over") {
			t.Errorf("no line says that maintenance is over")
		}
		for _, d := range []time.Duration{-1, 25 * time.Hour} {
			if err := w.Maintain(d, "x"); err == nil {
				t.Errorf("Maintain(%v): got nil", d)
			}
		}
		if err := w.Maintain(time.Hour, "x"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := w.Maintain(0, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		if _, _, ok := w.Maintenance(); ok {
			t.Errorf("maintenance did not end when told to")
		}
	})
}

// What a stall does to a canary is no news: what is said of the stall stays what it was.
func TestDetailOfAStallIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{Stall: 15 * time.Second})
		p := &answering{}
		var requests atomic.Uint64
		w.serve(Endpoint{Name: "generate", Probe: p.probe, Activity: func() Activity { return Activity{InFlight: requests.Load()} }})
		time.Sleep(time.Second)
		requests.Store(3)
		p.hang.Store(true)
		time.Sleep(time.Minute)
		w.want("generate", "notready stalled")
		const want = "3 in flight, no progress for 15s (budget 15s), nor a canary answered"
		if s, _ := w.Status("generate"); s.Detail != want {
			t.Errorf("got the detail %q after %d canaries, want %q", s.Detail, p.calls.Load(), want)
		}
		w.Drain()
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if last := w.changes[len(w.changes)-1]; !last.Draining || last.Detail != want {
			t.Errorf("others hear at the end %+v, want the detail %q", last, want)
		}
	})
}

func TestNoMoreThanMaxCanariesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{MaxCanaries: 3})
		p := &answering{}
		p.hang.Store(true)
		for i := range 20 {
			w.serve(Endpoint{Name: fmt.Sprint(i), Probe: p.probe})
		}
		time.Sleep(5 * time.Minute)
		if p.most.Load() != 3 {
			t.Errorf("got %d canaries at once, want 3", p.most.Load())
		}
		for i := range 20 {
			w.want(fmt.Sprint(i), "notready fail(timeout)")
		}
	})
}

func TestOnChangeMayCallTheMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m *Monitor
		var seen []string
		m, err := NewMonitor(Config{OnChange: func(s Status) {
			seen = append(seen, s.Endpoint)
			if s.Endpoint == "a" && s.Ready {
				_ = m.Serve(Endpoint{Name: "b"})
				m.Statuses()
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Serve(Endpoint{Name: "a"}); err != nil { // before Run
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := m.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(seen, []string{"a", "b"}) {
			t.Errorf("got changes of %v, want of a, b", seen)
		}
	})
}

func TestConfigIsRefused(t *testing.T) {
	for field, cfg := range map[string]Config{
		"Wait":             {Wait: -1},
		"Timeout":          {Timeout: 48 * time.Hour},
		"Stall":            {Stall: -time.Second},
		"Recheck":          {Recheck: time.Minute},
		"FailureThreshold": {FailureThreshold: -1},
		"SuccessThreshold": {SuccessThreshold: 1 << 20},
		"MaxCanaries":      {MaxCanaries: -1},
	} {
		if _, err := NewMonitor(cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v, want an error that names it", field, err)
		}
	}
	m, err := NewMonitor(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Serve(Endpoint{}); err == nil {
		t.Errorf("Serve without a name: got nil")
	}
}
