package dial

import (
	"context"
	"fmt"
	"net"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
)

// resolving is a network with a resolver.
type resolving struct {
	mu      sync.Mutex
	resolve func(context.Context) (host string, err error)
	hosts   map[string]func(context.Context) error // what answers where
	dialled []string                               // hosts
}

func (r *resolving) become(resolve func(context.Context) (string, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resolve = resolve
}

func (r *resolving) Dial(ctx context.Context, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err != nil {
		r.mu.Lock()
		resolve := r.resolve
		r.mu.Unlock()
		host, err = resolve(ctx)
		if trace := httptrace.ContextClientTrace(ctx); trace != nil {
			trace.DNSDone(httptrace.DNSDoneInfo{Err: err})
		}
		if err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	answer := r.hosts[host]
	r.dialled = append(r.dialled, host)
	r.mu.Unlock()
	if err := answer(ctx); err != nil {
		return nil, &net.OpError{Op: "dial", Err: err}
	}
	mine, theirs := net.Pipe()
	theirs.Close()
	return at{mine, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(net.JoinHostPort(host, port)))}, nil
}

func (r *resolving) OpenTripwire(ctx context.Context, addr string) (net.Conn, error) {
	return r.Dial(ctx, addr)
}

// at is a connection to a host.
type at struct {
	net.Conn
	remote net.Addr
}

func (a at) RemoteAddr() net.Addr { return a.remote }

const before, moved = "192.0.2.1", "192.0.2.2"

// means is a resolver that takes a while, unless nobody waits for so long.
func means(host string, after time.Duration) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		select {
		case <-time.After(after):
			return host, nil
		case <-ctx.Done():
			return "", &net.DNSError{Err: ctx.Err().Error(), UnwrapErr: ctx.Err(), IsTimeout: ctx.Err() == context.DeadlineExceeded}
		}
	}
}

func fails(err net.DNSError) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return "", &err }
}

// What a resolver has no address for is sought where it answered last; where it has one, that
// counts.
func TestNamesWithoutAnAddress(t *testing.T) {
	const silence = time.Hour
	unknown := net.DNSError{Err: "no such host", IsNotFound: true}
	fault := net.DNSError{Err: "server misbehaving", IsTemporary: true}
	for _, tt := range []struct {
		name     string
		resolve  func(context.Context) (string, error)
		last     func(context.Context) error // what the last address does
		attempts watch.Attempts
		want     string
		told     string // of the name; empty: nothing
	}{
		{"no such host, and it lives", fails(unknown), accept, watch.Once, "accepted after 0s", "no such host"},
		{"no such host, and it is dead", fails(unknown), refuse, watch.Once, "refused after 0s", "no such host"},
		{"no such host, and it is silent", fails(unknown), silent, watch.Once, "timeout after 1s", "no such host"},
		{"a failure, and it lives", fails(fault), accept, watch.Once, "accepted after 0s", "the resolver fails"},
		{"a failure, and it is dead", fails(fault), refuse, watch.Redial, "refused after 0s", "the resolver fails"},
		{"no answer, and it lives", means(before, silence), accept, watch.Once, "accepted after 250ms", "the resolver does not answer in time"},
		{"no answer, and it is dead", means(before, silence), refuse, watch.Once, "refused after 1s", "the resolver does not answer in time"},
		{"no answer, and little time", means(before, silence), accept, watch.Redial, "accepted after 33.333333ms", "the resolver does not answer in time"},
		{"a late answer, and it is dead", means(before, 400*time.Millisecond), refuse, watch.Once, "refused after 400ms", ""},
		{"a late answer, and it has moved", means(moved, 400*time.Millisecond), refuse, watch.Once, "accepted after 400ms", ""},
		{"a late answer, and where it was is silent", means(moved, 400*time.Millisecond), silent, watch.Once, "accepted after 400ms", ""},
		{"it has moved", means(moved, 0), refuse, watch.Once, "accepted after 0s", ""},
		{"another lives where it was", means(moved, 10*time.Millisecond), accept, watch.Once, "accepted after 10ms", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				events := make(chan probe.Event, 1)
				r := &resolving{resolve: means(before, 0), hosts: map[string]func(context.Context) error{before: accept, moved: accept}}
				d := New(r, nil, func(e probe.Event) { events <- e })
				dial := func() string {
					began := time.Now()
					d.Start(&probe.Dial{Kind: probe.DialService, Addr: "worker:1", Attempts: tt.attempts})
					outcome := (<-events).(probe.DialEnded).Outcome
					return fmt.Sprintf("%v after %v", outcome, time.Since(began))
				}
				if got := dial(); got != "accepted after 0s" {
					t.Fatalf("at first: got %s", got)
				}
				r.become(tt.resolve)
				r.hosts[before] = tt.last
				if got := dial(); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				told := ""
				if tt.told != "" {
					told = "worker:1 is a name without an address: " + tt.told
				}
				if _, got := d.Unresolved(time.Now()); got != told {
					t.Errorf("told %q, want %q", got, told)
				}
				r.become(means(moved, 0))
				if got := dial(); got != "accepted after 0s" {
					t.Errorf("with an address again: got %s", got)
				}
				if last := r.dialled[len(r.dialled)-1]; last != moved {
					t.Errorf("with another address: connected to %s", last)
				}
				if n, told := d.Unresolved(time.Now()); n > 0 {
					t.Errorf("with an address again: told %q", told)
				}
				d.Stop()
				d.Wait()
			})
		})
	}
}

// That a lookup is called off says nothing of the resolver.
func TestLookupThatIsCalledOff(t *testing.T) {
	for _, after := range []time.Duration{lookupWait / 2, 2 * lookupWait} { // the last address is tried then
		synctest.Test(t, func(t *testing.T) {
			r := &resolving{resolve: means(before, 0), hosts: map[string]func(context.Context) error{before: accept}}
			d := New(r, nil, nil)
			if _, err := d.network.Dial(t.Context(), "worker:1"); err != nil {
				t.Fatal(err)
			}
			r.become(means(before, time.Hour))
			r.hosts[before] = silent
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(after, cancel)
			if _, err := d.network.Dial(ctx, "worker:1"); err == nil {
				t.Error("it connects")
			}
			if n, told := d.Unresolved(time.Now()); n > 0 {
				t.Errorf("after %v: told %q", after, told)
			}
		})
	}
}

// A name that has never answered is what the resolver says of it.
func TestNameThatNeverAnswered(t *testing.T) {
	r := &resolving{resolve: fails(net.DNSError{IsNotFound: true})}
	d := New(r, nil, nil)
	_, err := d.network.Dial(t.Context(), "worker:1")
	if got := outcomeOf(err, 0); got != watch.Unreachable || len(r.dialled) > 0 {
		t.Errorf("got %v after connections to %q", got, r.dialled)
	}
}

func TestNamesAreBounded(t *testing.T) {
	r := &resolving{resolve: means(before, 0), hosts: map[string]func(context.Context) error{before: accept, "::1": accept}}
	d := New(r, nil, nil)
	for i := range maxNames + 10 {
		if conn, err := d.network.Dial(t.Context(), fmt.Sprintf("worker-%d:1", i)); err != nil {
			t.Fatal(err)
		} else {
			conn.Close()
		}
	}
	if n := len(d.network.last); n != maxNames {
		t.Errorf("%d names are known, want %d", n, maxNames)
	}
	clear(d.network.last)
	for _, addr := range []string{before + ":1", "[::1]:1"} {
		conn, err := d.network.Dial(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	if n := len(d.network.last); n > 0 {
		t.Errorf("%d addresses are taken for names", n)
	}
}
