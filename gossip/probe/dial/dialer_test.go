package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a network in which each connection ends as it is told to.
type scripted struct {
	connect func(ctx context.Context) error // nil: accepted
	remote  chan net.Conn                   // the other sides of tripwires
	dials   atomic.Int32
}

func (s *scripted) Dial(ctx context.Context, _ string) (net.Conn, error) {
	s.dials.Add(1)
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	mine, theirs := net.Pipe()
	theirs.Close()
	return mine, nil
}

func (s *scripted) OpenTripwire(ctx context.Context, _ string) (net.Conn, error) {
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	mine, theirs := net.Pipe()
	s.remote <- theirs
	return mine, nil
}

// run has f use a dialer in a bubble, and returns what was reported.
func run(t *testing.T, connect func(context.Context) error, f func(*Dialer, *scripted)) (reports []string) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		began := time.Now()
		events := make(chan string, 10)
		s := &scripted{connect: connect, remote: make(chan net.Conn, 1)}
		d := New(s, nil, func(e probe.Event) {
			what := "tripwire closed"
			if ended, ok := e.(probe.DialEnded); ok {
				what = ended.Outcome.String()
			}
			events <- fmt.Sprintf("%s after %v", what, time.Since(began))
		})
		f(d, s)
		d.Stop()
		d.Wait()
		close(events)
		for e := range events {
			reports = append(reports, e)
		}
	})
	return reports
}

func accept(context.Context) error { return nil }
func refuse(context.Context) error { return syscall.ECONNREFUSED }

// silent is a host that does not answer.
func silent(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestConnections(t *testing.T) {
	for name, c := range map[string]struct {
		connect  func(context.Context) error
		attempts watch.Attempts
		want     string
		dials    int
	}{
		"accepted":          {accept, watch.Once, "accepted after 0s", 1},
		"refused":           {refuse, watch.Once, "refused after 0s", 1},
		"silent":            {silent, watch.Once, "timeout after 1s", 1},
		"a burst, accepted": {accept, watch.Burst, "accepted after 0s", 1},
		"a burst, silent":   {silent, watch.Burst, "timeout after 3s", 10},
		"a redial, silent":  {silent, watch.Redial, "timeout after 100ms", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var made int
			got := run(t, c.connect, func(d *Dialer, s *scripted) {
				d.Start(&probe.Dial{Kind: probe.DialService, Addr: "x:1", Attempts: c.attempts})
				time.Sleep(10 * time.Second)
				made = int(s.dials.Load())
			})
			if len(got) != 1 || got[0] != c.want || made != c.dials {
				t.Errorf("got %q after %d connections, want %q after %d", got, made, c.want, c.dials)
			}
		})
	}
}

// One answer is enough for a burst.
func TestBurstEndsWithItsFirstAnswer(t *testing.T) {
	var attempts atomic.Int32
	got := run(t, func(ctx context.Context) error {
		if attempts.Add(1) < 3 {
			return silent(ctx)
		}
		return nil
	}, func(d *Dialer, _ *scripted) {
		d.Start(&probe.Dial{Kind: probe.DialService, Addr: "x:1", Attempts: watch.Burst})
		time.Sleep(10 * time.Second)
	})
	if len(got) != 1 || got[0] != "accepted after 600ms" {
		t.Errorf("got %q, want it accepted with the third attempt", got)
	}
}

func TestTripwires(t *testing.T) {
	for name, c := range map[string]struct {
		connect func(context.Context) error
		then    func(*Dialer, *probe.Dial, *scripted)
		want    []string
	}{
		"refused": {refuse, func(*Dialer, *probe.Dial, *scripted) {}, []string{"refused after 0s"}},
		"the other process ends": {accept, func(_ *Dialer, _ *probe.Dial, s *scripted) {
			time.Sleep(time.Minute)
			(<-s.remote).Close()
		}, []string{"accepted after 0s", "tripwire closed after 1m0s"}},
		"hung up": {accept, func(d *Dialer, job *probe.Dial, s *scripted) {
			time.Sleep(time.Minute)
			d.HangUp(job)
			if _, err := (<-s.remote).Read(make([]byte, 1)); err == nil {
				panic("it is still there")
			}
		}, []string{"accepted after 0s", "tripwire closed after 1m0s"}},
		"hung up while it is opened": {silent, func(d *Dialer, job *probe.Dial, _ *scripted) {
			time.Sleep(100 * time.Millisecond)
			d.HangUp(job)
		}, []string{"void after 100ms"}},
		"stopped": {accept, func(d *Dialer, _ *probe.Dial, _ *scripted) {
			time.Sleep(time.Second)
			d.Stop()
		}, []string{"accepted after 0s", "tripwire closed after 1s"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, c.connect, func(d *Dialer, s *scripted) {
				job := &probe.Dial{Kind: probe.OpenTripwire, Addr: "x:1"}
				d.Start(job)
				synctest.Wait()
				c.then(d, job, s)
				d.Stop()
				d.Wait()
				if len(d.tripwires) > 0 {
					t.Errorf("%d tripwires are held for ever", len(d.tripwires))
				}
			})
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestOutcomes(t *testing.T) {
	dns := &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	for _, c := range []struct {
		err  error
		late time.Duration
		want watch.Outcome
	}{
		{nil, 0, watch.Accepted},
		{syscall.ECONNREFUSED, 0, watch.Refused},
		{syscall.EHOSTUNREACH, 0, watch.Unreachable},
		{errors.New("something else"), 0, watch.Unreachable},
		{context.DeadlineExceeded, 0, watch.TimedOut},
		{os.ErrDeadlineExceeded, starvedAfter, watch.TimedOut},
		{context.DeadlineExceeded, starvedAfter + 1, watch.Void}, // this process was starved
		{context.Canceled, 0, watch.Void},
		{net.ErrClosed, 0, watch.Void},
		{syscall.EMFILE, 0, watch.Void},
		{dns, 0, watch.Void},
		{&net.DNSError{IsNotFound: true}, 0, watch.Unreachable},
	} {
		err := c.err
		if err != nil {
			err = &net.OpError{Op: "dial", Err: fmt.Errorf("connect: %w", err)}
		}
		if got := outcomeOf(err, c.late); got != c.want {
			t.Errorf("%v, %v late: got %v, want %v", c.err, c.late, got, c.want)
		}
	}
}
