package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// sockets are the host's.
type sockets struct{}

func (sockets) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

func (s sockets) OpenTripwire(ctx context.Context, addr string) (net.Conn, error) {
	return s.Dial(ctx, addr)
}

// dialer returns one that uses real sockets until the test ends, and what it reports.
func dialer(t *testing.T) (*Dialer, <-chan probe.Event) {
	t.Helper()
	events := make(chan probe.Event, 10)
	d := New(sockets{}, nil, func(e probe.Event) { events <- e })
	t.Cleanup(func() {
		d.Stop()
		d.Wait()
	})
	return d, events
}

func next(t *testing.T, events <-chan probe.Event) probe.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("nothing is reported within 10s")
		return nil
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// A connection that is kept, and one that only looks, end in order for whom they went to, whatever
// that one has said: a reset is a line in a Dynamo worker's log.
func TestConnectionsEndInOrder(t *testing.T) {
	for _, hold := range []bool{false, true} {
		for _, says := range []string{"", "SSH-2.0-banner\r\n"} {
			if says != "" && !hold {
				continue // what comes after the end is answered by the kernel
			}
			t.Run(fmt.Sprintf("hold %v, says %d bytes", hold, len(says)), func(t *testing.T) {
				l := listen(t)
				d, events := dialer(t)
				job := &probe.Dial{Kind: probe.DialService, Addr: l.Addr().String(), Attempts: watch.Once, Idle: hold, Silence: time.Second}
				d.Start(job)
				conn, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if e, ok := next(t, events).(probe.DialEnded); !ok || e.Outcome != watch.Accepted {
					t.Fatalf("reported %+v, want that it is accepted", e)
				}
				if _, err := io.WriteString(conn, says); err != nil {
					t.Fatal(err)
				}
				if hold {
					_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // for what was said to be read
					if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errDeadline) {
						t.Fatalf("while it is kept: read %d bytes, %v, want nothing", n, err)
					}
					d.HangUp(job)
				}
				_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
				if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
					t.Errorf("read %d bytes, %v, want EOF", n, err)
				}
			})
		}
	}
}

var errDeadline = os.ErrDeadlineExceeded

// The end of a connection that is kept is told at once.
func TestHeldConnectionTellsItsEnd(t *testing.T) {
	l := listen(t)
	d, events := dialer(t)
	job := &probe.Dial{Kind: probe.DialService, Addr: l.Addr().String(), Attempts: watch.Once, Idle: true, Silence: time.Second}
	d.Start(job)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	next(t, events)
	pace, began := testkit.Paced(t), time.Now()
	conn.Close()
	if e, ok := next(t, events).(probe.TripwireClosed); !ok || e.Dial != job || e.Outcome != watch.Accepted {
		t.Errorf("reported %+v, want that it was closed", e)
	}
	if took := pace.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

// Whether a system port answers, and what a port says that accepts and does not.
func TestAskSystem(t *testing.T) {
	frozen := listen(t) // its kernel accepts
	gone := listen(t)
	gone.Close()
	answering := listen(t)
	methods := make(chan string, 10)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		methods <- r.Method + " " + r.URL.Path
		w.WriteHeader(http.StatusMethodNotAllowed)
	})}
	go func() { _ = server.Serve(answering) }()
	defer func() { _ = server.Close() }()
	for _, tt := range []struct {
		name string
		addr net.Addr
		want watch.Outcome
	}{{"answers", answering.Addr(), watch.Accepted}, {"frozen", frozen.Addr(), watch.TimedOut}, {"gone", gone.Addr(), watch.Refused}} {
		t.Run(tt.name, func(t *testing.T) {
			d, events := dialer(t)
			began := time.Now()
			d.Start(&probe.Dial{Kind: probe.AskSystem, Addr: tt.addr.String()})
			if e, ok := next(t, events).(probe.DialEnded); !ok || e.Outcome != tt.want {
				t.Errorf("reported %+v after %v, want %v", e, time.Since(began), tt.want)
			}
		})
	}
	if got := <-methods; got != "OPTIONS /metrics" {
		t.Errorf("asked with %s, want OPTIONS /metrics: whatever else it may be asked, it logs", got)
	}
}

// cutOff is a network on which, from some time on, nothing arrives.
type cutOff struct {
	sockets
	now atomic.Bool
}

func (n *cutOff) Dial(ctx context.Context, addr string) (net.Conn, error) {
	if n.now.Load() {
		return nil, silent(ctx)
	}
	return n.sockets.Dial(ctx, addr)
}

// A host that is gone is not one that accepts and does not answer, though the connection that was
// kept still looks as if it stood.
func TestAskSystemOfAHostThatIsGone(t *testing.T) {
	l := listen(t)
	n := &cutOff{}
	ended := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if n.now.Load() {
			<-ended
		}
	})}
	go func() { _ = server.Serve(l) }()
	defer func() { _ = server.Close() }()
	defer close(ended)
	events := make(chan probe.Event, 10)
	d := New(n, nil, func(e probe.Event) { events <- e })
	defer d.Wait()
	defer d.Stop()
	for _, want := range []watch.Outcome{watch.Accepted, watch.Unreachable} {
		d.Start(&probe.Dial{Kind: probe.AskSystem, Addr: l.Addr().String()})
		if e, ok := next(t, events).(probe.DialEnded); !ok || e.Outcome != want {
			t.Errorf("reported %+v, want %v", e, want)
		}
		n.now.Store(true)
	}
}

// What a system port says, as Dynamo 1.6.1 words it.
func TestAskStatus(t *testing.T) {
	const metrics = "# TYPE dynamo_component_inflight_requests gauge\n" +
		`dynamo_component_inflight_requests{dynamo_component="backend",dynamo_endpoint="generate",worker_id="2040a22453f4b405"} 3` + "\n" +
		`dynamo_component_inflight_requests{dynamo_component="backend",dynamo_endpoint="other",worker_id="2040a22453f4b405"} 1` + "\n" +
		`dynamo_component_uptime_seconds{worker_id="2040a22453f4b405"} 30.4` + "\n"
	const base = `{"status":"notready","uptime":{"secs":30,"nanos":1},"endpoints":`
	for _, tt := range []struct {
		name                    string
		metrics, engine, health string
		engineCode, healthCode  int
		want                    probe.SystemStatus
	}{
		{"the mocker", metrics, "", base + `{"generate":"ready","other":"ready"}}`, 404, 503,
			probe.SystemStatus{Worker: "2040a22453f4b405", InFlight: 4, NoEngine: true, NoHealth: true}},
		{"canaries on", metrics, "", base + `{"generate":"notready","other":"ready","a":"notready"}}`, 404, 503,
			probe.SystemStatus{Worker: "2040a22453f4b405", InFlight: 4, NoEngine: true, NotReady: []string{"a", "generate"}}},
		{"an engine that drains", metrics, `{"draining":true,"in_flight":7}`, base + `{}}`, 200, 200,
			probe.SystemStatus{Worker: "2040a22453f4b405", InFlight: 7, Draining: true}},
		{"junk", "\x00\n" + strings.Repeat("x", 1<<20) + "\ndynamo_component_inflight_requests{} NaN", "[]", "junk", 200, 200, probe.SystemStatus{InFlight: -1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t)
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				said := map[string]struct {
					code int
					body string
				}{"/metrics": {200, tt.metrics}, "/engine/status": {tt.engineCode, tt.engine}, "/health": {tt.healthCode, tt.health}}[r.URL.Path]
				w.WriteHeader(said.code)
				_, _ = io.WriteString(w, said.body)
			})}
			go func() { _ = server.Serve(l) }()
			defer func() { _ = server.Close() }()
			d, events := dialer(t)
			d.Start(&probe.Dial{Kind: probe.AskStatus, Addr: l.Addr().String(), Engine: true, Health: true})
			e, ok := next(t, events).(probe.DialEnded)
			if !ok || e.Outcome != watch.Accepted || !reflect.DeepEqual(e.Status, tt.want) {
				t.Errorf("reported %+v, want %+v", e, tt.want)
			}
		})
	}
}
