package routing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/e2e/rig"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestMain(m *testing.M) {
	if at := os.Getenv(replicaAddr); at != "" {
		os.Exit(serveReplica(at))
	}
	goleak.VerifyTestMain(m)
}

const (
	endpoint = "dyn://dynamo.backend.generate"
	patience = 40 * time.Second // for what should take a moment
)

// fleet is a frontend and workers.
type fleet struct {
	t        *testing.T
	program  string
	etcd     *localetcd.Server
	frontend *process
	root     string // the frontend's URL
	args     []string
	client   *client.Client
	workers  []*worker
}

// process is a process of dynmesh or of a router.
type process struct{ *testkit.Process }

func (p *process) signal(s syscall.Signal) { _ = syscall.Kill(-p.PID(), s) }

// worker is a worker at an address of its own, which its next life takes again.
type worker struct {
	*process
	f             *fleet
	addr, control string // host:port
	life          func() *exec.Cmd
}

// tool returns where a program is, and leaves the test out where there is none.
func tool(t *testing.T, name string) string {
	t.Helper()
	if os.Getenv("DYNMESH_E2E") == "" {
		t.Skip("left out: real routers and real faults take a minute; run make e2e")
	}
	return rig.Program(t, name)
}

// newFleet starts a frontend, with more flags, and three workers that send canaries each second.
func newFleet(t *testing.T, more ...string) *fleet {
	t.Helper()
	f := startFleet(t, more...)
	for n := range 3 {
		w := &worker{f: f, addr: fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)), control: fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))}
		_, rpc, _ := strings.Cut(w.addr, ":")
		w.life = func() *exec.Cmd {
			return f.command("worker", "--component", "backend", "--system-host", "127.0.0.1", "--system-port", "0", "--rpc-host", "127.0.0.1",
				"--rpc-port", rpc, "--mock-control", w.control, "--label", fmt.Sprintf("n=%d", n))
		}
		f.join(w)
	}
	f.allReady()
	return f
}

// join starts a worker that is one of the fleet from now on.
func (f *fleet) join(w *worker) {
	f.t.Helper()
	w.start()
	f.workers = append(f.workers, w)
}

func (f *fleet) allReady() {
	f.t.Helper()
	f.eventually("all are ready", func() error {
		for _, w := range f.workers {
			if i, err := f.instance(w); err != nil || i.Verdict != "ready" || !i.Verified {
				return errors.Join(fmt.Errorf("%s is %s, verified %v", w.addr, i.Verdict, i.Verified), err)
			}
		}
		return nil
	})
}

// startFleet starts a fleet that has no workers yet.
func startFleet(t *testing.T, more ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, program: filepath.Join(t.TempDir(), "dynmesh")}
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "noetcd", "-o", f.program, "github.com/dynmesh/dynmesh/cmd/dynmesh")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("compile: %v\n%s", err, out)
	}
	var err error
	if f.etcd, err = localetcd.Start(localetcd.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.etcd.Close() })
	port := testkit.FreePort(t)
	f.root = fmt.Sprintf("http://127.0.0.1:%d", port)
	f.args = append([]string{"frontend", "--http-host", "127.0.0.1", "--http-port", fmt.Sprint(port)}, more...)
	f.startFrontend()
	if f.client, err = client.New(client.Config{URL: f.root}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.client.Close)
	return f
}

func (f *fleet) command(args ...string) *exec.Cmd {
	cmd := exec.Command(f.program, args...)
	cmd.Dir, cmd.Env = f.t.TempDir(), []string{
		"ETCD_ENDPOINTS=" + f.etcd.Endpoint(), "ETCD_LEASE_TTL=60", "DYN_GOSSIP_BIND=127.0.0.1:0", "DYN_HEALTH_CHECK_ENABLED=true",
		"DYN_CANARY_WAIT_TIME=1", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT=1", "DYN_CANARY_STALL_BUDGET=3", "PATH=" + os.Getenv("PATH"),
	}
	return cmd
}

func (f *fleet) startFrontend() {
	f.t.Helper()
	f.frontend = &process{testkit.Start(f.t, "frontend", f.command(f.args...))}
}

func (w *worker) start() {
	w.f.t.Helper()
	w.process = &process{testkit.Start(w.f.t, "worker "+w.addr, w.life())}
}

// instance returns what the frontend knows of the worker's newest life.
func (f *fleet) instance(w *worker) (found mesh.Instance, err error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
	defer cancel()
	m, err := f.client.Mesh(ctx)
	if err != nil {
		return found, err
	}
	err = fmt.Errorf("there is none at %s", w.addr)
	for _, e := range m.Endpoints {
		for _, i := range e.Instances {
			at := string(i.Transport) // of a worker before an engine it has no path
			if (strings.Contains(at, w.addr+"/") || strings.Contains(at, w.addr+`"`)) && i.Worker != nil && i.Worker.PID == w.PID() {
				found, err = i, nil
			}
		}
	}
	return found, err
}

// turn sets the knobs of a worker's engine.
func (w *worker) turn(knobs string) {
	w.f.t.Helper()
	rig.Turn(w.f.t, w.control, knobs)
}

func (f *fleet) eventually(what string, condition func() error) {
	f.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
	}
}

// load is requests through a router.
type load struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu       sync.Mutex
	sent     int
	failures []string
}

// rate is how many requests a load sends in a second.
const rate = 20

// begin sends requests until end. request returns once it has been answered, or why it is lost.
func (f *fleet) begin(request func() error) *load {
	f.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &load{stop: stop}
	l.done.Go(func() {
		tick := time.NewTicker(time.Second / rate)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				l.done.Go(func() {
					err := request()
					l.mu.Lock()
					defer l.mu.Unlock()
					if l.sent++; err != nil {
						l.failures = append(l.failures, err.Error())
					}
				})
			}
		}
	})
	f.t.Cleanup(func() {
		stop()
		l.done.Wait()
	})
	return l
}

// post returns requests to a router, each of its own connection.
func post(url string) func() error { return postTo(url + "/v1/rpc/generate") }

func postTo(url string) func() error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	return func() error {
		answer, err := client.Post(url, "application/json", strings.NewReader(`{"messages":[{"role":"user","content":"hello"}],"max_tokens":3}`))
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err == nil && (answer.StatusCode != http.StatusOK || len(body) == 0) {
			err = fmt.Errorf("%s: %.100s", answer.Status, body)
		}
		return err
	}
}

// end waits for the last answers, and returns how many requests were sent and lost.
func (l *load) end() (sent int, lost []string) {
	l.stop()
	l.done.Wait()
	return l.sent, l.failures
}

// fault is what is done to a worker, and undone.
type fault struct {
	name         string
	inject, heal func(*worker)
	most         int // requests that may be lost until it is withdrawn
}

// faults are those of which a router by itself notices no hang and no error.
func faults() []fault {
	return []fault{
		{"killed", (*worker).kill, (*worker).start, 1},
		{"frozen", func(w *worker) { w.signal(syscall.SIGSTOP) }, func(w *worker) { w.signal(syscall.SIGCONT) }, rate},
		{"failing", func(w *worker) { w.turn(`{"error_status":500}`) }, func(w *worker) { w.turn(`{}`) }, rate},
		{"hanging", func(w *worker) { w.turn(`{"freeze":0}`) }, func(w *worker) { w.turn(`{}`) }, rate},
	}
}

func (w *worker) kill() { w.Kill() }

// survive breaks a worker behind a router while requests come, and wants few of them lost until it
// is withdrawn, none from then on, and it back when it works again. out and in return nil once the
// router has it so.
func (f *fleet) survive(t *testing.T, w *worker, broken fault, request func() error, out, in func(*worker) error) {
	of := *f
	f, of.t = &of, t
	l := f.begin(request)
	<-time.After(time.Second) // requests without a fault
	began := time.Now()
	broken.inject(w)
	f.eventually("it is withdrawn", func() error { return out(w) })
	took := time.Since(began)
	<-time.After(300 * time.Millisecond) // those that were on their way
	sent, lost := l.end()
	t.Logf("%s: withdrawn after %v; lost %d of %d", broken.name, took.Round(time.Millisecond), len(lost), sent)
	if len(lost) > broken.most {
		t.Errorf("%s: lost %d of %d, more than %d, the first: %s", broken.name, len(lost), sent, broken.most, lost[0])
	}
	l = f.begin(request)
	<-time.After(3 * time.Second)
	if sent, lost := l.end(); len(lost) > 0 || sent < rate {
		t.Errorf("%s: once it was withdrawn, lost %d of %d: %v", broken.name, len(lost), sent, lost)
	}
	broken.heal(w)
	f.eventually("it is back", func() error { return in(w) })
	l = f.begin(request)
	<-time.After(time.Second)
	if _, lost := l.end(); len(lost) > 0 {
		t.Errorf("%s: once it was back, lost %v", broken.name, lost)
	}
}
