package gossip

import (
	"cmp"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/swim"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// These tests have real sockets on loopback, and where a process is to die, a process that dies.
// They measure time that passes, so none of them is parallel to those on virtual time, which take
// all of the processors.

const patience = 20 * time.Second // for what takes a second on an idle machine

// real is a pool on loopback.
type real struct {
	*peer
	t *testing.T
}

func startReal(t *testing.T, edit func(*Config)) *real {
	t.Helper()
	cfg := Config{Role: dynmesh.RoleWorker, Bind: "127.0.0.1:0", Keyring: Unencrypted()}
	edit(&cfg)
	cfg.Identity = cmp.Or(cfg.Identity, identityOf(dynmesh.InstanceID(rand.Uint64()>>1)))
	pool, err := newPool(cfg, swim.Sockets{}, belongsTo)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{
		Pool: pool, ended: make(chan struct{}), members: make(map[dynmesh.InstanceID]dynmesh.Member),
		observations: make(map[dynmesh.ObservationKey]dynmesh.Observation), paths: make(map[dynmesh.ObservationKey]dynmesh.Observation),
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.end = cancel
	pool.Changed()
	go func() {
		p.err = pool.Run(ctx)
		close(p.ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-p.ended
	})
	return &real{p, t}
}

// until waits until a condition holds, and returns how long that took. Who is kept from running
// accuses nobody, so what the machine gives to others does not count against the patience.
func (r *real) until(what string, holds func() bool) time.Duration {
	r.t.Helper()
	pace, begun := testkit.Paced(r.t), time.Now()
	defer pace.Stop()
	for !holds() {
		if pace.Since(begun) > patience {
			r.read()
			r.t.Fatalf("after %v: not %s: %v %v", patience, what, r.members, r.paths)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Since(begun)
}

// listen serves a port of requests until it is closed.
func listen(t *testing.T, at string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l
}

// watched is a frontend, another member, and what they say of a worker that somebody else starts.
type watched struct {
	*real
	second *real
	worker dynmesh.Subject
}

func newWatched(t *testing.T) *watched {
	frontend := startReal(t, func(c *Config) { c.Role = dynmesh.RoleFrontend })
	second := startReal(t, func(c *Config) { c.Role, c.Join = dynmesh.RoleFrontend, []string{frontend.Addr()} })
	return &watched{frontend, second, worker(7)}
}

func (w *watched) passes() func() bool {
	return func() bool { return w.told(w.worker, probe.Watchers, dynmesh.Pass, "") }
}

func (w *watched) fails(r dynmesh.Reason) func() bool {
	return func() bool { return w.told(w.worker, probe.Watchers, dynmesh.Fail, r) }
}

// TestChild is no test: it is the worker that other tests start as a process of its own.
func TestChild(t *testing.T) {
	join := os.Getenv("DYNMESH_TEST_CHILD_JOIN")
	if join == "" {
		t.Skip("only as another test's child")
	}
	service := listen(t, "127.0.0.1:0")
	pool, err := newPool(Config{Identity: identityOf(7), Role: dynmesh.RoleWorker, Bind: "127.0.0.1:0", Keyring: Unencrypted(), Join: []string{join}, Service: service.Addr().String()}, swim.Sockets{}, belongsTo)
	if err != nil {
		t.Fatal(err)
	}
	_ = os.WriteFile(os.Getenv("DYNMESH_TEST_CHILD_FILE"), []byte(pool.Addr()), 0o600)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent, whatever becomes of that
		cancel()
	}()
	if err := pool.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// child starts the worker as a process, and returns it when it passes.
func (w *watched) child() (process *os.Process, addr string) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "addr")
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), "DYNMESH_TEST_CHILD_JOIN="+w.Addr(), "DYNMESH_TEST_CHILD_FILE="+file)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	w.until("a worker that passes", w.passes())
	b, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	return cmd.Process, string(b)
}

func TestKilledProcessIsFoundAtOnce(t *testing.T) {
	w := newWatched(t)
	process, addr := w.child()
	w.until("tripwires", func() bool { return holdsConnection(w.Pool) && holdsConnection(w.second.Pool) })
	pace, killed := testkit.Paced(t), time.Now()
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	w.until("refused for both", w.fails(dynmesh.ReasonRefused))
	took := pace.Since(killed)
	t.Logf("SIGKILL was known from both watchers after %v", took)
	for id, o := range w.views(w.worker) {
		t.Logf("%v found it after %v: %s", id, o.At.Sub(killed), o.Detail)
	}
	if took > time.Second {
		t.Errorf("it took %v", took)
	}

	// Another process takes the port, and is not taken for the one that died.
	other := startReal(t, func(c *Config) { c.Identity, c.Bind, c.Join = identityOf(8), addr, []string{w.Addr()} })
	took = w.until("unreachable for all who watch it", func() bool {
		n := len(w.views(w.worker)) // for a while the new process watches it, too
		return n >= probe.Watchers && w.told(w.worker, n, dynmesh.Fail, dynmesh.ReasonUnreachable)
	})
	t.Logf("another process at its port was known after %v", took)
	w.until("it passes itself", func() bool { return w.told(worker(other.Self().ID), probe.Watchers, dynmesh.Pass, "") })
}

// holdsConnection reports whether the pool has a connection: those of memberlist last for
// milliseconds.
func holdsConnection(p *Pool) bool { return p.node.Conns().Total > 0 }

func TestStoppedProcessIsFoundInThreeSeconds(t *testing.T) {
	w := newWatched(t)
	process, _ := w.child()
	pace, stopped := testkit.Paced(t), time.Now()
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.until("found by both", w.fails(dynmesh.ReasonFrozen))
	took := pace.Since(stopped)
	t.Logf("SIGSTOP was known from both watchers after %v", took)
	if took > 4*time.Second { // 3 on a machine with nothing else to do
		t.Errorf("it took %v", took)
	}
	for _, o := range w.views(w.worker) {
		if o.Detail != "accepts connections but does not answer" {
			t.Errorf("detail: %q", o.Detail)
		}
	}
	if err := process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	t.Logf("SIGCONT was known after %v", w.until("well again", w.passes()))
}

func TestClosedPortOfRequestsIsFound(t *testing.T) {
	w := newWatched(t)
	service := listen(t, "127.0.0.1:0")
	startReal(t, func(c *Config) {
		c.Identity, c.Service, c.Join = identityOf(7), service.Addr().String(), []string{w.Addr()}
	})
	w.until("a worker that passes", w.passes())
	service.Close()
	t.Logf("found after %v", w.until("refused for both", w.fails(dynmesh.ReasonRefused)))
	for _, o := range w.views(w.worker) {
		if o.Detail != "its port of requests refuses connections" {
			t.Errorf("detail: %q", o.Detail)
		}
	}
	listen(t, service.Addr().String())
	t.Logf("well again after %v", w.until("well again", w.passes()))
}
