package grey

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/e2e/rig"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// router is who has to notice.
type router struct {
	name, what string
	start      func(s *rig.Stand) (url string) // nil: dynmesh
}

func (r router) String() string { return r.name }

func routers() []router {
	return []router{
		{name: "dynmesh", what: "a frontend's verdict, or what it says beside it; all with defaults, requests go to the replicas in turn"},
		{name: "nginx", what: "elsewhere on errors, 5xx and after 5 s without a byte; then not for 10 s", start: (*rig.Stand).NginxAlone},
		{name: "haproxy", what: "health checks: three that fail, 1 s apart; elsewhere on errors, 5xx and after 5 s without a byte", start: (*rig.Stand).HAProxyAlone},
		{name: "envoy", what: "health checks: three that fail, 2 s apart; no retries", start: func(s *rig.Stand) string { return s.EnvoyAlone(false) }},
		{name: "envoy-tuned", what: "besides: two retries elsewhere, after 3 s without a byte as well; ejection after 3 errors in a row",
			start: func(s *rig.Stand) string { return s.EnvoyAlone(true) }},
		{name: "sglang-router", what: "its defaults", start: func(s *rig.Stand) string { return s.Peer("sglang-router") }},
		{name: "smg", what: "its defaults", start: func(s *rig.Stand) string { return s.Peer("smg") }},
		{name: "vllm-router", what: "with --policy power_of_two", start: func(s *rig.Stand) string { return s.Peer("vllm-router", "--policy", "power_of_two") }},
	}
}

// state is what a front does with requests.
type state int

const (
	passing state = iota
	silent        // it takes them, and nothing comes back
	closed        // it closes their connections
)

// front stands before an engine and takes note of requests, which no engine that is frozen could.
type front struct {
	server *httptest.Server

	mu    sync.Mutex
	state state
	asked []time.Time // for completions
}

func newFront(t *testing.T, engine string) *front {
	f := &front{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: engine})
	proxy.FlushInterval = -1
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	transport := &http.Transport{DisableKeepAlives: true}
	proxy.Transport = transport
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		does := f.state
		if r.Method == http.MethodPost {
			f.asked = append(f.asked, time.Now())
		}
		f.mu.Unlock()
		switch does {
		case silent:
			_, _ = io.Copy(io.Discard, r.Body) // so that the router's leaving is seen
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		case closed:
			panic(http.ErrAbortHandler)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(func() {
		f.server.CloseClientConnections()
		f.server.Close()
		transport.CloseIdleConnections()
	})
	return f
}

func (f *front) is(s state) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = s
}

// since are the times of requests after a moment, from then on.
func (f *front) since(moment time.Time) (all []time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, at := range f.asked {
		if at.After(moment) {
			all = append(all, at.Sub(moment))
		}
	}
	return all
}

const (
	// observed is how long requests come after a fault, behind a router.
	observed = 60 * time.Second
	// idleTime is how long none come, and then idleRequests, ten a second.
	idleTime     = 30 * time.Second
	idleRequests = 80
)

// stand runs a cell of a router's.
func stand(t *testing.T, b *rig.Tools, pace *testkit.Pace, s spec) (o outcome) {
	o = outcome{spec: s}
	var replicas []*replica
	at := &rig.Stand{T: t, Tools: b}
	for n := range s.replicas {
		r := &replica{t: t, engine: rig.MockEngine(t, b, rig.Here(), fmt.Sprintf("engine %d", n))}
		r.engine.Answers(t)
		r.engine.Turn(t, withPace(s.fault.before))
		r.front = newFront(t, r.engine.Addr)
		replicas = append(replicas, r)
		at.Addrs = append(at.Addrs, strings.TrimPrefix(r.front.server.URL, "http://"))
	}
	root := s.router.start(at)
	ctx := t.Context()
	client := rig.NewClient(patience)
	testkit.Eventually(t, rig.Startup, "a request gets through "+s.router.name, func() bool { return rig.Complete(ctx, client, root, body(0)) == nil })
	var running sync.WaitGroup
	defer running.Wait()
	load := func(n int) {
		rig.Pace(ctx, n, s.rate, func(i int) {
			running.Go(func() { _ = rig.Complete(ctx, client, root, body(i)) })
		})
	}
	load(5 * s.rate)
	struck := time.Now()
	if s.fault.knobs != "" {
		replicas[0].engine.Turn(t, withPace(s.fault.knobs))
	} else {
		s.fault.alone(replicas[0])
	}
	if s.idle {
		_ = timers.Sleep(ctx, idleTime)
		asked := time.Now()
		load(idleRequests)
		if got := len(replicas[0].front.since(asked)); got == 0 {
			o.found, o.after = true, idleTime
		} else {
			o.reason = fmt.Sprintf("%d of %d", got, idleRequests)
		}
	} else {
		load(int(observed.Seconds()) * s.rate)
		o.after, o.found = leftAlone(replicas[0].front.since(struck), observed)
	}
	o.right = o.found // a router gives no reasons
	o.late = pace.Longest(struck)
	return o
}

// trial is how far apart requests are that only try whether a replica works again.
const trial = 8 * time.Second

// leftAlone says when a replica was left alone, of the times at which it was asked within a
// window: after that, it was only tried now and then. One that was asked like that, and the last
// time near the window's end, was not.
func leftAlone(asked []time.Duration, window time.Duration) (after time.Duration, found bool) {
	slices.Sort(asked)
	for i, at := range asked {
		alone := (i == 0 || at-asked[i-1] >= trial) && (i == len(asked)-1 || asked[i+1]-at >= trial)
		if !alone || i == 0 {
			after = at
		}
	}
	return after, window-after >= 2*trial
}
