package grey

import (
	"cmp"
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

	mu     sync.Mutex
	state  state
	visits []visit
}

// visit is a request for a completion, by when it came and was gone: answered, or given up.
type visit struct{ came, left time.Time } // left is zero while it is there

func newFront(t *testing.T, engine string) *front {
	f := &front{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: engine})
	proxy.FlushInterval = -1
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	transport := &http.Transport{DisableKeepAlives: true}
	proxy.Transport = transport
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		does, leave := f.come(r)
		defer leave()
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

// come takes note of a request, and says what becomes of it. leave must be called once it is gone.
func (f *front) come(r *http.Request) (does state, leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method != http.MethodPost {
		return f.state, func() {}
	}
	n := len(f.visits)
	f.visits = append(f.visits, visit{came: time.Now()})
	return f.state, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.visits[n].left = time.Now()
	}
}

// since are the requests that came after a moment, by the time since then. One that is still there
// is so until now.
func (f *front) since(moment time.Time) (all []stay) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.visits {
		if v.came.After(moment) {
			s := stay{from: v.came.Sub(moment), to: v.left.Sub(moment)}
			if s.held = v.left.IsZero(); s.held {
				s.to = time.Since(moment)
			}
			all = append(all, s)
		}
	}
	return all
}

const (
	// beforehand is how long requests come before the fault.
	beforehand = 20 * time.Second
	// foundWithin is when a router has to have found a fault.
	foundWithin = time.Minute
	// observed is how long requests come after a fault. A replica is left alone while it holds what it
	// does not answer, by routers that count requests: it must be for longer than clients wait.
	observed = foundWithin + patience + trial
	// idleTime is how long none come, and then idleRequests, ten a second.
	idleTime     = 30 * time.Second
	idleRequests = 80
)

// stand runs a cell of a router's. The replica that breaks is the one that was asked most: some
// routers have reasons of their own to leave one alone.
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
	sent := 0
	load := func(n int) {
		rig.Pace(ctx, n, s.rate, func(int) {
			text := body(sent)
			sent++
			running.Go(func() { _ = rig.Complete(ctx, client, root, text) })
		})
	}
	began := time.Now()
	load(int(beforehand.Seconds()) * s.rate)
	if s.idle {
		running.Wait() // none hangs when the fault comes
	}
	struck := time.Now()
	broken := slices.MaxFunc(replicas, func(a, b *replica) int { return len(a.front.since(began)) - len(b.front.since(began)) })
	if stays := broken.front.since(began); longestPause(stays, struck.Sub(began)) >= trial {
		o.err = fmt.Sprintf("asked too seldom before: %d of %d times", len(stays), sent)
		return o
	}
	if s.fault.knobs != "" {
		broken.engine.Turn(t, withPace(s.fault.knobs))
	} else {
		s.fault.alone(broken)
	}
	if s.idle {
		_ = timers.Sleep(ctx, idleTime)
		asked := time.Now()
		load(idleRequests)
		got := len(broken.front.since(asked))
		o.found, o.after = got == 0, idleTime
		o.reason = fmt.Sprintf("%d of %d", got, idleRequests)
	} else {
		load(int(observed.Seconds()) * s.rate)
		stays := broken.front.since(struck)
		o.after, o.found = leftAlone(stays, observed)
		o.found = o.found && o.after <= foundWithin
		o.reason = fmt.Sprintf("%d requests, the last after %.1f s", len(stays), o.after.Seconds())
	}
	o.right = o.found // a router gives no reasons
	o.late = pace.Longest(struck)
	return o
}

// trial is how far apart requests are that only try whether a replica works again.
const trial = 8 * time.Second

// stay is a request at a replica, from when to when.
type stay struct {
	from, to time.Duration
	held     bool // it is still there
}

// longestPause is how long no request came, at most, of those within a window.
func longestPause(stays []stay, window time.Duration) (longest time.Duration) {
	var last time.Duration
	for _, s := range stays {
		longest, last = max(longest, s.from-last), s.from
	}
	return max(longest, window-last)
}

// leftAlone says from when on a replica was left alone, of the requests that came to it within a
// window: after that, it was only tried now and then. While it holds a request it is not left
// alone: routers that count requests send no others to it, and know nothing of a fault. One that is
// asked near the window's end, or holds a request that nobody waits for any more, was not.
func leftAlone(stays []stay, window time.Duration) (after time.Duration, alone bool) {
	slices.SortFunc(stays, func(a, b stay) int { return cmp.Compare(a.from, b.from) })
	var gone time.Duration // the last of those so far
	stuck := false
	for i, s := range stays {
		tried := i > 0 && s.from-gone >= trial && (i == len(stays)-1 || stays[i+1].from-s.to >= trial)
		if !tried {
			after = s.from
		}
		gone = max(gone, s.to)
		stuck = stuck || s.held && s.from < window-patience-trial
	}
	return after, !stuck && window-after >= 2*trial
}
