package sidecar

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/engine"
)

// troubles collects signs.
type troubles struct {
	mu  sync.Mutex
	all []*dynmesh.Failure
}

func (s *troubles) add(f *dynmesh.Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, f)
}

func (s *troubles) reasons() (all []dynmesh.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.all {
		all = append(all, f.Reason)
	}
	return all
}

// accepting is an engine's port: what becomes of each connection is serve's to say. It closes what
// is left when it is closed.
type accepting struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
	taken atomic.Int64
}

func accept(t *testing.T, addr string, serve func(n int64, c net.Conn)) *accepting {
	t.Helper()
	a := &accepting{}
	var err error
	testkit.Eventually(t, patience, "the port is free", func() bool {
		a.Listener, err = net.Listen("tcp", addr)
		return err == nil
	})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := a.Accept()
			if err != nil {
				return
			}
			a.mu.Lock()
			a.conns = append(a.conns, c)
			a.mu.Unlock()
			n := a.taken.Add(1)
			running.Go(func() { serve(n, c) })
		}
	})
	t.Cleanup(func() {
		a.kill()
		running.Wait()
	})
	return a
}

// kill is what a kernel does for a process that dies.
func (a *accepting) kill() {
	_ = a.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		_ = c.Close()
	}
}

func wire(t *testing.T, url string, ask func(context.Context) error) (signs *troubles, back *atomic.Int64) {
	t.Helper()
	s := newSidecar(t, Config{Backend: url})
	signs, back = &troubles{}, &atomic.Int64{}
	w := newTripwire(s.client, ask, signs.add, func() { back.Add(1) }, s.cfg.Log)
	background(t, func(ctx context.Context) error { w.run(ctx); return nil })
	return signs, back
}

func answered(context.Context) error { return nil }

// An engine that is killed is noticed at once, and so is its return.
func TestTripwire(t *testing.T) {
	hold := func(_ int64, c net.Conn) { testkit.UntilGone(c) }
	engine := accept(t, "127.0.0.1:0", hold)
	signs, back := wire(t, "http://"+engine.Addr().String(), answered)
	testkit.Eventually(t, patience, "it stands", func() bool { return back.Load() == 1 && engine.taken.Load() == 1 })
	pace, killed := testkit.Paced(t), time.Now()
	engine.kill()
	testkit.Eventually(t, patience, "it says so", func() bool { return len(signs.reasons()) > 0 })
	if took := pace.Since(killed); took > 200*time.Millisecond {
		t.Errorf("found after %v, want 200ms at most", took)
	}
	accept(t, engine.Addr().String(), hold)
	testkit.Eventually(t, patience, "it is back", func() bool { return back.Load() == 2 })
	if got := signs.reasons(); len(got) != 1 || got[0] != dynmesh.ReasonRefused {
		t.Errorf("got %v, want one refusal", got)
	}
}

// A connection that the engine closes, or speaks on, is no finding: it is dialled again.
func TestTripwireThatIsClosed(t *testing.T) {
	engine := accept(t, "127.0.0.1:0", func(n int64, c net.Conn) {
		switch n {
		case 1:
			_ = c.Close()
		case 2:
			_, _ = io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\n\r\n")
			testkit.UntilGone(c)
		default:
			testkit.UntilGone(c)
		}
	})
	signs, back := wire(t, "http://"+engine.Addr().String(), answered)
	testkit.Eventually(t, patience, "the third stands", func() bool { return engine.taken.Load() == 3 })
	if got := signs.reasons(); len(got) != 0 || back.Load() != 1 {
		t.Errorf("got %v, and back %d times; want neither", got, back.Load())
	}
}

// What takes connections for an engine that is gone is a sign, once, and is not besieged.
func TestTripwireBehindAForwarder(t *testing.T) {
	engine := accept(t, "127.0.0.1:0", func(_ int64, c net.Conn) { _ = c.Close() })
	signs, _ := wire(t, "http://"+engine.Addr().String(), answered)
	testkit.Eventually(t, patience, "it says so", func() bool { return len(signs.reasons()) == 1 })
	if got := signs.reasons()[0]; got != dynmesh.ReasonCut {
		t.Errorf("got %v, want that connections are cut", got)
	}
	before := engine.taken.Load()
	testkit.Eventually(t, patience, "it goes on, and slows down", func() bool { return engine.taken.Load() >= before+5 })
	if got := signs.reasons(); len(got) != 1 {
		t.Errorf("got %v, want it said once", got)
	}
	if got := []time.Duration{redialPause(0), redialPause(1), redialPause(4), redialPause(99)}; fmt.Sprint(got) != "[0s 5ms 40ms 5s]" {
		t.Errorf("pauses %v", got)
	}
}

// pass passes a connection on until both sides are done.
func pass(c net.Conn, addr string) {
	defer c.Close()
	engine, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer engine.Close()
	_ = engine.SetDeadline(time.Now().Add(patience))
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(engine, c)
		_ = engine.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(c, engine)
	_ = c.Close()
	both.Wait()
}

// An engine that serves one connection at a time is left alone.
func TestNoRoomForATripwire(t *testing.T) {
	url := testkit.RawServer(t, func(c *net.TCPConn, _ string) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { // it takes the next connection when it is done with the last one
		for {
			c, err := front.Accept()
			if err != nil {
				return
			}
			pass(c, url[len("http://"):])
		}
	})
	t.Cleanup(func() {
		_ = front.Close()
		serving.Wait()
	})
	s := newSidecar(t, Config{Backend: "http://" + front.Addr().String()})
	signs := &troubles{}
	w := newTripwire(s.client, s.askAnything, signs.add, func() {}, s.cfg.Log)
	ended := make(chan struct{})
	background(t, func(ctx context.Context) error {
		defer close(ended)
		w.run(ctx)
		return nil
	})
	// An engine that is too slow to answer either way is asked again, roomTimeout and maxRedial later.
	testkit.Eventually(t, 3*patience, "it lets go", func() bool { return closed(ended) })
	if got := signs.reasons(); len(got) != 0 {
		t.Errorf("got %v, want no sign", got)
	}
}

// The engine's own word counts where it is 503, and nothing else does.
func TestHealth(t *testing.T) {
	var status atomic.Int64
	status.Store(http.StatusOK)
	url := testkit.RawServer(t, func(c *net.TCPConn, _ string) {
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %d x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status.Load())
	})
	s := newSidecar(t, Config{Backend: url})
	h := &health{client: s.client}
	asked := engine.Engine{Health: "/health"}
	for code, want := range map[int64]bool{200: false, 404: false, 500: false, 503: true} {
		status.Store(code)
		for _, asked.Dies = range []bool{false, true} {
			f := h.ask(t.Context(), asked)
			if (f != nil) != want {
				t.Errorf("status %d: got %v, a sign: want %v", code, f, want)
			}
			if f != nil && (f.Reason == dynmesh.ReasonDead) != asked.Dies {
				t.Errorf("an engine whose 503 is final (%v): got %v", asked.Dies, f)
			}
		}
	}
	gone := newSidecar(t, Config{Backend: "http://" + freeAddr(t)})
	if f := (&health{client: gone.client}).ask(t.Context(), asked); f == nil || f.Reason != dynmesh.ReasonRefused {
		t.Errorf("nobody listens: got %v", f)
	}
}

// A running sidecar tells of an engine that says it is dead, and of one that is gone.
func TestTroubleIsTold(t *testing.T) {
	signs := &troubles{}
	url := testkit.RawServer(t, func(c *net.TCPConn, request string) {
		status, body := 200, `{"data":[{"id":"a"}]}`
		if len(request) > 12 && request[:12] == "GET /health " {
			status, body = 503, ""
		}
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %d x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(body), body)
	})
	runSidecar(t, Config{Backend: url, OnTrouble: signs.add})
	testkit.Eventually(t, patience, "it says that it is dead", func() bool {
		for _, r := range signs.reasons() {
			if r == dynmesh.ReasonDead {
				return true
			}
		}
		return false
	})

	gone := &troubles{}
	_, server, stop := runMock(t, "mock", "")
	s := runSidecar(t, Config{Backend: "http://" + server.Addr(), OnTrouble: gone.add})
	testkit.Eventually(t, patience, "the engine is there", func() bool { return s.Model() == "mock" })
	if got := gone.reasons(); len(got) != 0 {
		t.Errorf("got %v of an engine that is well", got)
	}
	stop()
	testkit.Eventually(t, patience, "it is gone", func() bool {
		got := gone.reasons()
		return len(got) > 0 && got[len(got)-1] == dynmesh.ReasonRefused
	})
}
