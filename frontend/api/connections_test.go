package api

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// slowClient asks for /health and never reads the answer.
func (r *running) slowClient() net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// sendingNow returns how many connections are in the middle of an answer.
func (r *running) sendingNow() int {
	r.connections.mu.Lock()
	defer r.connections.mu.Unlock()
	n := 0
	for c := range r.connections.open {
		if c.sending.Load() != nil {
			n++
		}
	}
	return n
}

// largeFleet is as many instances as make an answer that no socket buffer holds: 2 MB.
const largeFleet = 10_000

// large returns a frontend that serves them.
func large(t *testing.T, cfg Config, tune func(*Server)) *running {
	t.Helper()
	f := start(t, cfg, nil, tune)
	f.discover(testkit.Synced(testkit.Instances(largeFleet)...))
	return f
}

func TestSlowClientsCostOnlyThemselves(t *testing.T) {
	t.Parallel()
	const slow = 100
	f := large(t, Config{}, nil)
	for range slow {
		f.slowClient()
	}
	eventually(t, "slow clients that hold an answer", func() bool { return f.sendingNow() == slow })
	pace := testkit.Paced(t)
	for n := range 5 {
		began := time.Now()
		if got := f.get("/live"); got.code != http.StatusOK {
			t.Errorf("/live: got %d, want 200", got.code)
		}
		f.discover(testkit.Synced(testkit.HTTPInstance(testkit.Key("zz", "late", "generate", uint64(n)))))
		want := fmt.Sprintf(`"endpoint":"generate","instance_id":%d,"namespace":"zz"`, n)
		eventually(t, "the update", func() bool { return strings.Contains(f.get("/health").body, want) })
		if took := pace.Since(began); took > 5*time.Second {
			t.Errorf("round %d took %v beside slow clients, want moments", n, took)
		}
	}
	eventually(t, "the end of the quick answers", func() bool { return f.sendingNow() == slow })
	if got := f.connections.cut.Load(); got != 0 {
		t.Errorf("got %d clients cut, want none", got)
	}
}

func TestAnswerMustBeReadInTime(t *testing.T) {
	t.Parallel()
	f := large(t, Config{}, func(s *Server) { s.setWriteTimeout(100 * time.Millisecond) })
	f.slowClient()
	eventually(t, "the connection's start", func() bool { return f.sendingNow() == 1 })
	eventually(t, "the connection's end", func() bool { return f.connections.len() == 0 })
}

func TestSlowReadersOfOldAnswersAreCut(t *testing.T) {
	t.Parallel()
	f := large(t, Config{}, nil)
	size := f.newest.Load().Health.Identity.Size
	f.connections.maxReplaced = int64(size * 3 / 2) // room for one replaced answer and a half
	publish := func(version int) {                  // of every instance, so that two answers share nothing
		puts := testkit.Instances(largeFleet)
		for i := range puts {
			puts[i].Transport = raw(fmt.Sprintf(`{"http":"http://10.0.0.1/%d"}`, version))
		}
		f.discover(testkit.Synced(puts...))
		f.connections.shedSlow()
	}
	oldest := []net.Conn{f.slowClient(), f.slowClient()} // both pin one answer: counted once, cut together
	eventually(t, "two readers", func() bool { return f.sendingNow() == 2 })
	publish(1)
	f.slowClient()
	eventually(t, "three readers", func() bool { return f.sendingNow() == 3 })
	if got := f.connections.cut.Load(); got != 0 {
		t.Errorf("one replaced answer: got %d connections cut, want 0", got)
	}
	publish(2)
	eventually(t, "the oldest cut", func() bool { return f.connections.cut.Load() == 2 })
	for _, c := range oldest {
		if n, _ := io.Copy(io.Discard, c); n >= int64(size) {
			t.Errorf("got %d bytes, want the answer broken off before %d", n, size)
		}
	}
	eventually(t, "one reader", func() bool { return f.sendingNow() == 1 })
	f.slowClient() // of the current answer
	eventually(t, "two readers", func() bool { return f.sendingNow() == 2 })
	f.connections.maxReplaced = 0
	f.connections.shedSlow()
	eventually(t, "the reader of the current answer alone", func() bool { return f.sendingNow() == 1 })
}

// Answers that differ in one instance share nearly all their bytes, so slow clients that read many
// of them cost little more than one.
func TestSlowReadersOfSimilarAnswersAreKept(t *testing.T) {
	t.Parallel()
	f := large(t, Config{}, nil)
	f.connections.maxReplaced = int64(f.newest.Load().Health.Identity.Size / 2)
	const slow = 5
	for n := range slow {
		f.slowClient()
		eventually(t, "another reader", func() bool { return f.sendingNow() == n+1 })
		f.discover(testkit.Synced(testkit.HTTPInstance(testkit.Key("dynamo", fmt.Sprintf("backend-%d", n), "generate", 1))))
	}
	f.connections.shedSlow()
	if got := f.connections.cut.Load(); got != 0 || f.sendingNow() != slow {
		t.Errorf("got %d connections cut and %d left, want none and %d", got, f.sendingNow(), slow)
	}
}

func TestClientsThatGoAwayAreForgotten(t *testing.T) {
	t.Parallel()
	f := large(t, Config{}, nil)
	c := f.slowClient()
	eventually(t, "an answer on its way", func() bool { return f.sendingNow() == 1 })
	_ = c.Close()
	eventually(t, "the connection's end", func() bool { return f.connections.len() == 0 })
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	t.Parallel()
	f := start(t, Config{}, nil, func(s *Server) { s.app.Server().ReadTimeout = 200 * time.Millisecond })
	for _, first := range []string{"", "GET /live HTTP/1.1\r\nHost: localhost\r\nX: "} {
		c, err := net.Dial("tcp", f.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, first); err != nil {
			t.Fatal(err)
		}
		// It goes on dribbling, so no limit on silence would help.
		eventually(t, fmt.Sprintf("the end of a client that sent %q and dribbles", first), func() bool {
			if first != "" {
				_, _ = c.Write([]byte("x"))
			}
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, err := io.Copy(io.Discard, c)
			return !errors.Is(err, os.ErrDeadlineExceeded)
		})
		_ = c.Close()
	}
}

func TestLargeHeadersAreRefused(t *testing.T) {
	f := start(t, Config{}, nil, nil)
	got := f.get("/live", "X-Large", strings.Repeat("x", maxHeader))
	if got.code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %d, want 431", got.code)
	}
}

// failing is a listener whose first Accepts fail.
type failing struct {
	net.Listener
	errs []error
}

func (l *failing) Accept() (net.Conn, error) {
	if len(l.errs) == 0 {
		return l.Listener.Accept()
	}
	err := l.errs[0]
	l.errs = l.errs[1:]
	return nil, &net.OpError{Op: "accept", Err: err}
}

func TestAcceptOutlivesWantOfFiles(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	set := newConnections(&failing{Listener: ln, errs: []error{syscall.EMFILE, syscall.ECONNABORTED}}, testkit.Quiet())
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	accepted, err := set.Accept()
	if err != nil {
		t.Fatalf("got %v, want a connection after the files are free again", err)
	}
	if got := set.len(); got != 1 {
		t.Errorf("got %d connections, want 1", got)
	}
	for range 2 { // the server may close it twice
		_ = accepted.Close()
	}
	if got := set.len(); got != 0 {
		t.Errorf("got %d connections, want 0", got)
	}
	_ = set.Close()
	if _, err := set.Accept(); err == nil {
		t.Error("got a connection from a closed listener")
	}
}

// The server panics where a deadline cannot be set, which must not be the end of all for one that
// was closed meanwhile.
func TestDeadlineOfAClosedConnection(t *testing.T) {
	one, other := net.Pipe()
	_ = other.Close()
	_ = one.Close()
	if err := (&conn{Conn: one}).SetWriteDeadline(time.Now()); err != nil {
		t.Errorf("got %v", err)
	}
}
