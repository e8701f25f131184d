package worker

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh/internal/budget"
	"github.com/dynmesh/dynmesh/internal/logging"
)

// TestUnreadAnswers: a client may be as slow as it likes, but not stop reading.
func TestUnreadAnswers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		every time.Duration // the client reads a piece this often; 0 for never
		want  time.Duration // until Write returns
		err   error
	}{
		{"never reads", 0, maxUnread, os.ErrDeadlineExceeded},
		{"reads slowly", maxUnread - time.Second, 4 * (maxUnread - time.Second), nil},
		{"reads too slowly", maxUnread + time.Second, maxUnread, os.ErrDeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				c := &conn{Conn: ours, ln: newListener(nil, 0, nil)}
				var client sync.WaitGroup
				if tt.every > 0 {
					client.Go(func() {
						for piece := make([]byte, writePiece); ; {
							time.Sleep(tt.every)
							if _, err := io.ReadFull(theirs, piece); err != nil {
								return
							}
						}
					})
				}
				start := time.Now()
				n, err := c.Write(make([]byte, 4*writePiece))
				if d := time.Since(start); d != tt.want || !errors.Is(err, tt.err) || (err == nil) != (n == 4*writePiece) {
					t.Errorf("got %d bytes and %v after %v, want %v after %v", n, err, d, tt.err, tt.want)
				}
				_ = ours.Close()
				_ = theirs.Close()
				client.Wait()
			})
		})
	}
}

// scripted is a listener whose Accept fails as told, and then waits.
type scripted struct {
	net.Listener
	errs   []error
	closed chan struct{}
}

func (s *scripted) Accept() (net.Conn, error) {
	if len(s.errs) == 0 {
		<-s.closed
		return nil, net.ErrClosed
	}
	err := s.errs[0]
	s.errs = slices.Delete(s.errs, 0, 1)
	if err != nil {
		return nil, err
	}
	conn, _ := net.Pipe()
	return conn, nil
}

func (s *scripted) Close() error { close(s.closed); return nil }

func newScripted(errs ...error) *listener {
	return newListener(&scripted{errs: errs, closed: make(chan struct{})}, maxStatus, logging.OrDiscard(nil))
}

func TestAcceptOutlastsWhatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
		l := newScripted(busy, busy, busy, nil, errors.New("broken"))
		start := time.Now()
		c, err := l.Accept()
		if d := time.Since(start); err != nil || d != 35*time.Millisecond {
			t.Errorf("got %v after %v, want a connection after 5+10+20 ms", err, d)
		}
		if _, err := l.Accept(); err == nil || err.Error() != "broken" {
			t.Errorf("got %v, want what does not pass", err)
		}
		l.stop()
		if n := l.wait(time.Second); n != 1 {
			t.Errorf("%d connections are left, want the one that the server has not done with", n)
		}
		l.connState(c, http.StateClosed)
		if n := l.wait(time.Second); n != 0 {
			t.Errorf("%d connections are left, want none", n)
		}
	})
}

// A connection for which there is no room is no reason to ask at once for what fails.
func TestAcceptWaitsAfterNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newScripted(nil, syscall.EMFILE, syscall.EMFILE, nil, syscall.EMFILE, errors.New("broken"))
		l.room = budget.New(0)
		start := time.Now()
		if _, err := l.Accept(); err == nil || err.Error() != "broken" {
			t.Errorf("got %v, want what does not pass", err)
		}
		if d := time.Since(start); d != 20*time.Millisecond {
			t.Errorf("it took %v, want 5+10 ms, and 5 ms again", d)
		}
	})
}

func TestAcceptEndsWithTheListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forever := slices.Repeat([]error{syscall.EMFILE}, 1000)
		l := newScripted(forever...)
		time.AfterFunc(10*time.Second, l.stop)
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want %v", err, net.ErrClosed)
		}
	})
}

// TestConnectionsDuringTheShutdown: which of them may live on.
func TestConnectionsDuringTheShutdown(t *testing.T) {
	l := newScripted(nil, nil, nil)
	var conns []*conn
	for range 2 {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c.(*conn))
	}
	working, waiting := conns[0], conns[1]
	l.connState(working, http.StateActive)
	l.stop()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a connection that came late: got %v, want %v", err, net.ErrClosed)
	}
	open := func(c *conn) bool { return c.SetDeadline(time.Now().Add(time.Hour)) == nil }
	if !open(working) || open(waiting) {
		t.Errorf("open: working %v, waiting %v; want true and false", open(working), open(waiting))
	}
	l.connState(working, http.StateIdle)
	if open(working) {
		t.Error("a connection is open though its answer is out")
	}
	l.connState(working, http.StateClosed)
	l.connState(waiting, http.StateClosed)
	if n := l.wait(waitLimit); n != 0 {
		t.Errorf("%d connections are left, want none", n)
	}
}
