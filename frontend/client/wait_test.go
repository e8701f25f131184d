package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

const backend = "dyn://dynamo.backend.generate"

// meshOf is an answer with so many ready instances.
func meshOf(ready int) string {
	var instances []string
	for id := range ready {
		instances = append(instances, fmt.Sprintf(`{"id":"%x","verdict":"ready","verified":true,"registered":true}`, id+1))
	}
	return `{"version":1,"discovery":{"state":"synced"},"endpoints":[{"endpoint":"` + backend + `","instances":[` + strings.Join(instances, ",") + `]}]}`
}

// reportedLines collects lines.
type reportedLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *reportedLines) report(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *reportedLines) get() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

func TestWaitUntilAllAreThere(t *testing.T) {
	var ready atomic.Int32
	ready.Store(5)
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, meshOf(int(ready.Load()))) })
	c := newClient(t, Config{URL: url})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var lines reportedLines
	done := make(chan error, 1)
	go func() { done <- c.Wait(ctx, []expect.Expectation{{Endpoint: backend, Want: 14}}, lines.report) }()
	testkit.Eventually(t, patience, "a first line", func() bool { return len(lines.get()) > 0 })
	ready.Store(14)
	pace, began := testkit.Paced(t), time.Now()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if dur := pace.Since(began); dur > 5*time.Second { // pollEvery, and then some on a busy machine
		t.Errorf("took %v to notice", dur)
	}
	if want := []string{"not ready: " + backend + ": 5 of 14 ready: 9 missing (ready: 1, 2, 3, 4, 5)"}; !slices.Equal(lines.get(), want) {
		t.Errorf("got %q, want %q", lines.get(), want)
	}
}

func TestWaitForTheFrontendsOwn(t *testing.T) {
	var asked atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ready" {
			t.Errorf("got %s", r.URL.Path)
		}
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"discovery":"syncing","expectations":[],"ready":false,"reasons":["\u001b"]}`)
			return
		}
		_, _ = io.WriteString(w, `{"discovery":"synced","expectations":[],"ready":true,"reasons":[]}`)
	})
	var lines reportedLines
	if err := newClient(t, Config{URL: url}).Wait(context.Background(), nil, lines.report); err != nil {
		t.Fatal(err)
	}
	want := []string{"not ready: ?", "nothing is expected, here or by the frontend: it says only that the registry has been read"}
	if !slices.Equal(lines.get(), want) {
		t.Errorf("got %q, want %q", lines.get(), want)
	}
}

// However the frontend behaves, Wait ends when its time is over, and says what is known.
func TestWaitEnds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		handle func(n int32, w http.ResponseWriter, r *http.Request)
		last   bool
		want   string
	}{
		{"not enough", func(_ int32, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, meshOf(1)) }, true,
			"not ready: " + backend + ": 1 of 2 ready: 1 missing (ready: 1)"},
		{"hangs", func(_ int32, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false,
			"the frontend never gave a usable answer: ask URL/mesh: out of time"},
		{"garbage", func(_ int32, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "\x1b[2J") }, false,
			"the frontend never gave a usable answer: ask URL/mesh: 200 OK, and no JSON object: no frontend answers like this"},
		{"an answer, then hangs", func(n int32, w http.ResponseWriter, r *http.Request) {
			if n > 1 {
				<-r.Context().Done()
			}
			_, _ = io.WriteString(w, meshOf(1))
		}, true, "not ready: " + backend + ": 1 of 2 ready: 1 missing (ready: 1) (as it was last known: ask URL/mesh: out of time)"},
		{"an answer, then garbage", func(n int32, w http.ResponseWriter, _ *http.Request) {
			if n > 1 {
				w.WriteHeader(http.StatusBadGateway)
			}
			_, _ = io.WriteString(w, meshOf(1))
		}, true, "not ready: " + backend + ": 1 of 2 ready: 1 missing (ready: 1) (as it was last known: ask URL/mesh: 502 Bad Gateway)"},
		{"garbage, then an answer", func(n int32, w http.ResponseWriter, _ *http.Request) {
			if n > 1 {
				_, _ = io.WriteString(w, meshOf(1))
			}
		}, true, "not ready: " + backend + ": 1 of 2 ready: 1 missing (ready: 1)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int32
			url := serve(t, func(w http.ResponseWriter, r *http.Request) { tt.handle(n.Add(1), w, r) })
			ctx, cancel := context.WithTimeoutCause(context.Background(), 4*pollInterval, errors.New("out of time"))
			defer cancel()
			pace, began := testkit.Paced(t), time.Now()
			err := newClient(t, Config{URL: url}).Wait(ctx, []expect.Expectation{{Endpoint: backend, Want: 2}}, func(string) {})
			if dur := pace.Since(began); dur > patience/2 {
				t.Errorf("took %v", dur)
			}
			e, ok := errors.AsType[*WaitError](err)
			if !ok || (e.Last != nil) != tt.last || e.Error() != strings.ReplaceAll(tt.want, "URL", url) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// The frontend's process ends, and another one comes at the same address.
func TestWaitSurvivesRestarts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	c := newClient(t, Config{URL: "http://" + addr})
	run := func(l net.Listener, ready int) (stop func()) {
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, meshOf(ready)) })}
		var serving sync.WaitGroup
		serving.Go(func() { _ = s.Serve(l) })
		return func() { _ = s.Close(); serving.Wait() }
	}
	stop := run(l, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	var lines reportedLines
	done := make(chan error, 1)
	go func() { done <- c.Wait(ctx, []expect.Expectation{{Endpoint: backend, Want: 2}}, lines.report) }()
	testkit.Eventually(t, patience, "an answer", func() bool { return len(lines.get()) == 1 })
	stop()
	testkit.Eventually(t, patience, "that it is away", func() bool {
		all := lines.get()
		return strings.HasSuffix(all[len(all)-1], "connection refused")
	})
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	defer run(l, 2)()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWaitWithoutTime(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := newClient(t, Config{URL: "http://127.0.0.1:1"}).Wait(ctx, nil, func(string) {})
	if e, ok := errors.AsType[*WaitError](err); !ok || e.Last != nil || !shows(e.Error()) {
		t.Errorf("got %v", err)
	}
}

func TestPace(t *testing.T) {
	at := time.Unix(1000, 0)
	var p throttle
	for i, tt := range []struct {
		after time.Duration
		line  string
		want  bool
	}{
		{0, "a", true},
		{10 * time.Second, "a", false}, // nothing new
		{10 * time.Second, "b", true},
		{11 * time.Second, "c", false}, // too soon
		{12 * time.Second, "b", false}, // back before anybody heard
		{13 * time.Second, "c", true},  // still so when it may be told
		{16 * time.Second, "b", true},
	} {
		if got := p.allow(tt.line, at.Add(tt.after)); got != tt.want {
			t.Errorf("%d: got %v, want %v", i, got, tt.want)
		}
	}
}
