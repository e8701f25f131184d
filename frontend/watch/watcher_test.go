package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for what should take a moment.
const patience = 20 * time.Second

// fakeFrontend answers what a test says.
type fakeFrontend struct {
	mu   sync.Mutex
	mesh client.Mesh
	err  error
}

func (f *fakeFrontend) Mesh(context.Context) (*client.Mesh, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.mesh
	return &m, f.err
}

// say has the frontend know of workers, in words: a=ready is one at 10.0.0.1:80, b at 10.0.0.2:80.
func (f *fakeFrontend) say(registry dynmesh.SyncState, workers string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = nil
	f.mesh = client.Mesh{}
	f.mesh.Discovery.State, f.mesh.Gossip.State = registry, mesh.GossipJoined
	e := mesh.Endpoint{EndpointHead: mesh.EndpointHead{Name: "dyn://d.b.g"}}
	for _, word := range strings.Fields(workers) {
		name, state, _ := strings.Cut(word, "=")
		n := name[0] - 'a' + 1
		e.Instances = append(e.Instances, mesh.Instance{
			ID: dynmesh.InstanceID(n), Verdict: dynmesh.VerdictState(state), Registered: true, Reasons: []string{"it is\n" + state},
			Transport: fmt.Appendf(nil, `{"http":"http://10.0.0.%d:80"}`, n), Observations: []mesh.Observation{{Observer: "f", Kind: "path"}},
		})
	}
	f.mesh.Endpoints = []mesh.Endpoint{e}
}

func (f *fakeFrontend) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// rig is a watcher that runs.
type rig struct {
	*testing.T
	dir   string
	front *fakeFrontend
	log   *testkit.Buffer
	stop  func()
}

const list = `{{range (target "dyn://d.b.g").Serving}}server {{.Addr}} weight={{.Weight}};
{{end}}`

// begin runs a watcher in a folder of its own. In commands, DIR is that.
func begin(t *testing.T, text string, cfg Config) *rig {
	t.Helper()
	r := &rig{T: t, dir: t.TempDir(), front: &fakeFrontend{}}
	if text != "" {
		cfg.Template, cfg.Out = r.path("tmpl"), r.path("out")
		if err := os.WriteFile(cfg.Template, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Exec, cfg.Check = strings.ReplaceAll(cfg.Exec, "DIR", r.dir), strings.ReplaceAll(cfg.Check, "DIR", r.dir)
	cfg.Debounce = time.Millisecond
	cfg.Log, r.log = testkit.Log()
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.front.say(dynmesh.Syncing, "")
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Run(ctx, r.front); err != nil {
			t.Error(err)
		}
	})
	r.stop = func() {
		stop()
		running.Wait()
	}
	t.Cleanup(r.stop)
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// has waits until a file has a content.
func (r *rig) has(name, want string) {
	r.Helper()
	testkit.Eventually(r.T, patience, fmt.Sprintf("%s is %q, and was %q", name, want, r.read(name)), func() bool { return r.read(name) == want })
}

func (r *rig) read(name string) string {
	b, err := os.ReadFile(r.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.Fatal(err)
	}
	return string(b)
}

func (r *rig) logs(words string) {
	r.Helper()
	testkit.Eventually(r.T, patience, "the log has "+words, func() bool { return strings.Contains(r.log.String(), words) })
}

func servers(numbers ...int) (text string) {
	for _, n := range numbers {
		text += fmt.Sprintf("server 10.0.0.%d:80 weight=100;\n", n)
	}
	return text
}

// TestTemplate: the file follows who serves, each new one is checked, and the command runs once for
// each.
func TestTemplate(t *testing.T) {
	r := begin(t, list, Config{
		Check: `grep -q server "$DYNMESH_FILE" && ! grep -q 10.0.0.9 "$DYNMESH_FILE" && echo checked >> DIR/checks`,
		Exec:  `cat "$DYNMESH_FILE" > DIR/loaded; echo ran >> DIR/runs`,
	})
	r.front.say(dynmesh.Synced, "a=ready b=ready c=ready")
	r.has("out", servers(1, 2, 3))
	r.has("loaded", servers(1, 2, 3))
	r.front.say(dynmesh.Synced, "a=ready b=notready c=ready")
	r.has("out", servers(1, 3))
	r.has("runs", "ran\nran\n")
	r.has("checks", "checked\nchecked\n")

	r.front.say(dynmesh.Synced, "a=ready b=notready c=ready i=ready") // which the check refuses
	r.logs("--check")
	if got := r.read("out"); got != servers(1, 3) {
		t.Errorf("got %q, which the check has refused", got)
	}
	r.front.say(dynmesh.Synced, "a=unreachable b=notready c=ready") // fewer than the floor
	r.has("out", servers(1, 2, 3))
	r.front.fail(errors.New("no frontend"))
	r.logs("cannot be asked")
	r.front.say(dynmesh.Stale, "a=ready")
	r.logs("answers again")
	r.front.say(dynmesh.Synced, "")
	r.logs("dyn://d.b.g is not known")
	if got := r.read("out"); got != servers(1, 2, 3) {
		t.Errorf("a list that is empty is made: %q", got)
	}
	files, err := os.ReadDir(r.dir)
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".tmp") {
			t.Errorf("%s is left behind", f.Name())
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// TestTemplateSameFile: a watcher that begins where all is as it should be runs nothing.
func TestTemplateSameFile(t *testing.T) {
	r := begin(t, list, Config{Exec: "echo ran >> DIR/runs"})
	if err := os.WriteFile(r.path("out"), []byte(servers(1, 2)), 0o640); err != nil {
		t.Fatal(err)
	}
	r.front.say(dynmesh.Synced, "a=ready b=ready")
	r.front.say(dynmesh.Synced, "a=ready b=ready c=ready")
	r.has("out", servers(1, 2, 3))
	r.has("runs", "ran\n")
	if info, err := os.Stat(r.path("out")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("got mode %v (%v), want that of the file before", info.Mode(), err)
	}
}

// TestExecIsTriedAgain: a command that fails runs again, though the file does not change.
func TestExecIsTriedAgain(t *testing.T) {
	r := begin(t, list, Config{Exec: `echo tried >> DIR/runs; test -e DIR/well || { echo out of order >&2; exit 3; }`})
	r.front.say(dynmesh.Synced, "a=ready")
	r.logs("exit status 3: out of order")
	if err := os.WriteFile(r.path("well"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.has("runs", "tried\ntried\n")
}

// TestTransitions: a command is told of each instance that changes, and of none that was so at the
// beginning.
func TestTransitions(t *testing.T) {
	r := begin(t, "", Config{Exec: `cat >> DIR/in; echo "$DYNMESH_ENDPOINT $DYNMESH_INSTANCE $DYNMESH_ADDR $DYNMESH_VERDICT_BEFORE $DYNMESH_STATE_BEFORE $DYNMESH_VERDICT $DYNMESH_STATE $DYNMESH_REASON" >> DIR/told`})
	r.front.say(dynmesh.Synced, "a=ready b=ready c=ready")
	<-time.After(3 * askEvery)
	r.front.say(dynmesh.Synced, "a=ready b=notready c=ready")
	first := "dyn://d.b.g 2 10.0.0.2:80 ready in notready out it is notready\n"
	r.has("told", first)
	if got := r.read("in"); !strings.Contains(got, `"from":{"verdict":"ready","state":"in"},"to":{"verdict":"notready","state":"out"},"reason":"it is notready"}`) {
		t.Errorf("its stdin was %s", got)
	}
	r.front.say(dynmesh.Synced, "a=ready c=ready")
	r.has("told", first+"dyn://d.b.g 2  notready out   \n")
}

// TestCommandIsBounded: one that does not end is ended, with what it has started.
func TestCommandIsBounded(t *testing.T) {
	pace := testkit.Paced(t)
	began := time.Now()
	alive := filepath.Join(t.TempDir(), "alive") // a pipe that what was started holds open
	if err := run(t.Context(), "mkfifo "+alive, patience, nil, ""); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(alive, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	err = run(t.Context(), "exec 9>"+alive+"; echo begun >&9; sleep 600 >/dev/null 2>&1 & sleep 600", 500*time.Millisecond, nil, "")
	if err == nil || !strings.Contains(err.Error(), "not ended within 500ms") {
		t.Errorf("got %v", err)
	}
	if took := pace.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := reader.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(reader); err != nil {
		t.Errorf("what it has started has not ended: %q, %v", said, err)
	}
	if err := run(t.Context(), "yes | head -c 1000000; exit 1", patience, nil, ""); err == nil || len(err.Error()) > 600 {
		t.Errorf("got %v", err)
	}
}

// TestDryRun: nothing is written, nothing is run.
func TestDryRun(t *testing.T) {
	r := begin(t, list, Config{Exec: "echo ran > DIR/runs", DryRun: true})
	r.front.say(dynmesh.Synced, "a=ready")
	r.logs("Would write")
	r.stop()
	if r.read("out")+r.read("runs") != "" {
		t.Error("a dry run does something")
	}
}

func TestOnce(t *testing.T) {
	dir := t.TempDir()
	log, _ := testkit.Log()
	tmpl, out := filepath.Join(dir, "tmpl"), filepath.Join(dir, "out")
	if err := os.WriteFile(tmpl, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &fakeFrontend{}
	f.say(dynmesh.Synced, "a=ready")
	w, err := New(Config{Template: tmpl, Out: out, Once: true, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(out); err != nil || string(b) != servers(1) {
		t.Errorf("got %q, %v", b, err)
	}
	f.say(dynmesh.Syncing, "")
	if w, err = New(Config{Template: tmpl, Out: out, Once: true, Log: log}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := w.Run(ctx, f); err == nil || !strings.Contains(err.Error(), "has not said who serves") {
		t.Errorf("got %v", err)
	}
}

func TestConfig(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("{{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		cfg   Config
		field string
	}{
		{Config{}, "Exec"}, {Config{Exec: "true", Out: "x"}, "Template"}, {Config{Exec: "true", Once: true}, "Template"},
		{Config{Template: bad}, "Out"}, {Config{Template: bad, Out: "x"}, "Template"}, {Config{Template: bad + "not", Out: "x"}, "Template"},
	} {
		_, err := New(tt.cfg)
		if config, ok := errors.AsType[*dynmesh.ConfigError](err); !ok || config.Field != tt.field {
			t.Errorf("%+v: got %v, want that %s cannot be used", tt.cfg, err, tt.field)
		}
	}
}

// TestStatus: what the frontend says of itself is what the policy goes by.
func TestStatus(t *testing.T) {
	var m client.Mesh
	m.Gossip.State = mesh.GossipAlone
	if s := statusOf(&m); s != (output.Status{}) {
		t.Errorf("one that is alone where nobody gossips: %+v", s)
	}
	m.Endpoints = []mesh.Endpoint{{Instances: []mesh.Instance{{Worker: &mesh.Worker{GossipAddr: "10.0.0.1:7946"}}}}}
	if s := statusOf(&m); s.Suspicion == "" {
		t.Error("one that reaches nobody of those who gossip says nothing")
	}
	m.Gossip.State, m.Gossip.HealthScore = mesh.GossipJoined, 3
	if s := statusOf(&m); s.Suspicion == "" {
		t.Error("one that is unwell says nothing")
	}
}
