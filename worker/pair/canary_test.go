package pair

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/pairs"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/quality"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reads is what an engine that prefills answers.
const reads = `{"choices":[{"text":"a"}],"kv_transfer_params":{"do_remote_prefill":true,"remote_engine_id":"p0","remote_host":"10.0.0.3","remote_port":5600}}`

// What becomes of a canary, by what both engines do.
func TestAsk(t *testing.T) {
	fails := &dynmesh.Failure{Reason: dynmesh.ReasonStatus, Detail: "status 500"}
	late := &dynmesh.Failure{Reason: dynmesh.ReasonTimeout}
	for _, tt := range []struct {
		name     string
		status   int
		answer   string
		own      error
		inFlight uint64 // when the own engine is done
		want     outcome
		says     string
	}{
		{"answered", 200, reads, nil, 0, answered, ""},
		{"the own engine fails", 200, reads, fails, 0, failed, ""},
		{"it is late", 200, reads, late, 0, failed, ""},
		{"it is late, and has other work", 200, reads, late, 2, void, "other requests"},
		{"it fails, and has other work", 200, reads, fails, 2, failed, ""},
		{"it is not asked", 200, reads, errors.New("a canary is sent"), 0, void, "a canary is sent"},
		{"the other one fails", 500, "", nil, 0, void, "the one that prefills: status 500"},
		{"it hands over nothing", 200, `{"choices":[{"text":"a"}]}`, nil, 0, void, "kv_transfer_params"},
		{"it leads elsewhere", 307, reads, nil, 0, void, "status 307"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			prefill := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if r.Method != http.MethodPost || r.URL.Path != pairs.Path || !strings.Contains(string(body), `"do_remote_decode":true`) {
					t.Errorf("asked is %s %s %s", r.Method, r.URL, body)
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
			}))
			defer prefill.Close()
			done := false
			c := New(Config{
				Mesh: func() Mesh { return &mesh{} },
				Ask: func(_ context.Context, path string, body []byte) error {
					if done = true; path != pairs.Path || !strings.Contains(string(body), `"remote_engine_id":"p0"`) {
						t.Errorf("the own engine is asked %s %s", path, body)
					}
					return tt.own
				},
				Activity: func() (a canary.Activity) {
					if done {
						a.InFlight = tt.inFlight
					}
					return a
				},
			})
			defer c.http.CloseIdleConnections()
			var got result
			for range 10 {
				got = c.ask(t.Context(), Prefill{1, strings.TrimPrefix(prefill.URL, "http://")}, "mock")
				if !errors.Is(got.obstacle, context.DeadlineExceeded) {
					break // else this machine stood still for as long as it is patient
				}
			}
			if got.outcome != tt.want || (got.failure != nil) != (tt.want == failed) || (got.obstacle != nil) != (tt.want == void) {
				t.Errorf("got %v, %v, %v, want %v", got.outcome, got.failure, got.obstacle, tt.want)
			}
			if got.obstacle != nil && !strings.Contains(got.obstacle.Error(), tt.says) {
				t.Errorf("got %v, want …%s…", got.obstacle, tt.says)
			}
			if read := tt.status == 200 && tt.answer == reads; (got.by.Name() == "p0") != read {
				t.Errorf("it was read by %+v", got.by)
			}
		})
	}
}

// Canaries that are late may still be with the engine. What it has beyond a few is others' work,
// however many were late.
func TestLate(t *testing.T) {
	var a canary.Activity
	c := New(Config{Activity: func() canary.Activity { return a }})
	var idle []bool
	for _, n := range []int{1, 100} {
		for range n {
			c.judge(pairs.Peer{}, &dynmesh.Failure{Reason: dynmesh.ReasonTimeout})
		}
		for _, a.Engine = range []uint64{1, 2, maxLate, maxLate + 1} {
			idle = append(idle, c.isIdle())
		}
	}
	a.Engine = 1
	c.judge(pairs.Peer{}, nil)
	idle = append(idle, c.isIdle())
	if want := []bool{true, false, false, false, true, true, true, false, false}; !slices.Equal(idle, want) {
		t.Errorf("idle after one, after many, and after an answer: %v, want %v", idle, want)
	}
}

// What ends by itself is not told to people.
func TestObstacles(t *testing.T) {
	for err, told := range map[error]bool{
		errBusy: false, fmt.Errorf("%w: a canary is sent", quality.ErrNotNow): false, errors.New("status 404"): true,
	} {
		c := New(Config{Mesh: func() Mesh { return &mesh{} }})
		if c.logObstacle(Prefill{}, err); c.told.IsZero() == told {
			t.Errorf("%v: told at %v", err, c.told)
		}
	}
}

// mesh has some workers that prefill, each at an address of its own, which all lead to one.
type mesh struct {
	to    string
	dials atomic.Int64
}

func (m *mesh) Addr() string { return "10.0.0.1:1" }

func (m *mesh) Changed() <-chan struct{} { return nil }

func (m *mesh) Take() (u dynmesh.GossipUpdate) {
	for id := range dynmesh.InstanceID(2) {
		o := dynmesh.Observer{ID: id + 1, Epoch: 1}
		u.Members = append(u.Members, dynmesh.Member{Observer: o, Addr: "10.0.0.2:1", Service: fmt.Sprintf("10.0.0.2:%d", id+1), State: dynmesh.Alive})
		u.Observations = append(u.Observations, dynmesh.Observation{Observer: o, Report: dynmesh.Report{
			Subject: dynmesh.Subject{ID: o.ID, Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "prefill", Name: "g"}},
			Kind:    dynmesh.KindCanary, Finding: dynmesh.Pass, Ready: true,
		}})
	}
	return u
}

func (m *mesh) Dial(ctx context.Context, addr string) (net.Conn, error) {
	m.dials.Add(1)
	if m.to == "" {
		m.to = addr
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", m.to)
}

// What a member says is its address leads to no other route, and nowhere else.
func TestSendAddress(t *testing.T) {
	var asked atomic.Pointer[http.Request]
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked.Store(r) }))
	defer other.Close()
	m := &direct{}
	c := New(Config{Mesh: func() Mesh { return m }})
	defer c.http.CloseIdleConnections()
	at := strings.TrimPrefix(other.URL, "http://")
	for _, addr := range []string{at + "/admin?:80", at + "/admin?a=:80", "me:secret@" + at, at + "/", at + "#:1"} {
		if answer, err := c.send(t.Context(), Prefill{1, addr}, pairs.Path, []byte("{}")); err == nil {
			t.Errorf("%s: answered %q", addr, answer)
		}
		if r := asked.Load(); r != nil {
			t.Errorf("%s: asked is %s %s", addr, r.Method, r.URL)
		}
	}
	if _, err := c.send(t.Context(), Prefill{1, at}, pairs.Path, []byte("{}")); err != nil || asked.Load() == nil || asked.Load().URL.Path != pairs.Path {
		t.Errorf("%s: %v", at, err)
	}
}

// direct dials what it is told to.
type direct struct{ mesh }

func (*direct) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
}

// Both workers are asked, one after the other, and what becomes of it is told with who they are;
// none is while the engine has other work.
func TestRun(t *testing.T) {
	prefill := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Replace(reads, "p0", "at-"+r.Host, 1))
	}))
	defer prefill.Close()
	m := &mesh{to: strings.TrimPrefix(prefill.URL, "http://")}
	var busy atomic.Bool
	var looks atomic.Int64
	var mu sync.Mutex
	got := map[string]bool{}
	c := New(Config{
		Own: dynmesh.Endpoint{Namespace: "n", Component: "decode"}, Prefill: "prefill", Mesh: func() Mesh { return m },
		Model: func(context.Context) (string, bool) { return "mock", true },
		Ask: func(_ context.Context, _ string, body []byte) error {
			if strings.Contains(string(body), "at-10.0.0.2:2") {
				return &dynmesh.Failure{Reason: dynmesh.ReasonStatus}
			}
			return nil
		},
		Activity: func() (a canary.Activity) {
			if looks.Add(1); busy.Load() {
				a.InFlight = 1
			}
			return a
		},
		Report: func(p pairs.Peer, f *dynmesh.Failure) {
			mu.Lock()
			defer mu.Unlock()
			got[fmt.Sprint(p.Instance, " ", p.Engine, " ", f != nil)] = true
		},
	})
	busy.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	testkit.Eventually(t, time.Minute, "it has looked at the engine", func() bool { return looks.Load() >= 3 })
	if n := m.dials.Load(); n != 0 {
		t.Errorf("beside a request %d workers are asked", n)
	}
	busy.Store(false)
	testkit.Eventually(t, time.Minute, "both are asked", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return got["1 at-10.0.0.2:1 false"] && got["2 at-10.0.0.2:2 true"]
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(got) != 2 {
		t.Errorf("told is %v", got)
	}
}
