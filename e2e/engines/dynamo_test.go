package engines

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/e2e/model"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// What is asked of dynmesh beside a real Dynamo. Kills are on one machine that does other things,
// too: the median is what the goal is of, and the bound on each leaves room for a busy moment.
const (
	killMedian   = 50 * time.Millisecond
	killMost     = 300 * time.Millisecond
	frozenMost   = 3 * time.Second
	cutOffMost   = 3 * time.Second
	quietFor     = 30 * time.Second // DYNMESH_DYNAMO_QUIET: another time
	kills        = 7
	lateMost     = 10 * time.Millisecond // of this machine: what it is late is not dynmesh's doing
	dynamoStarts = 2 * time.Minute
	watchedAfter = 5 * time.Second // a frontend connects to a worker that is new to it within 4.2 s: foreignAfter, foreignPeriod
)

// dynamo is a real Dynamo on an etcd, and two frontends of dynmesh beside it.
type dynamo struct {
	*fleet
	env, model string // folders of its installation and of the model
	frontends  []string
	client     *http.Client // with a bound, and connections that stay: what is asked often measures
	front      *testkit.Process
	root       string // of Dynamo's own frontend
}

// TestDynamo has all steps on one Dynamo: each takes seconds to start.
func TestDynamo(t *testing.T) {
	wanted(t, "dynamo")
	env := install.Python(t, "testdata/dynamo.txt", 15*time.Minute, "3.11", "3.12", "3.13")
	d := &dynamo{fleet: newFleet(t), env: env, model: model.HuggingFace(t), client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}}
	t.Cleanup(d.client.CloseIdleConnections)
	d.frontends = []string{d.frontend, d.startFrontend(t)}
	port := testkit.FreePort(t)
	d.root = fmt.Sprintf("http://127.0.0.1:%d", port)
	d.front = d.start(t, "Dynamo's frontend", "dynamo.frontend", "--http-port", fmt.Sprint(port))

	workers := map[string]*testkit.Process{} // by instance ID
	worker := func(settings ...string) string {
		before := d.instances()
		p := d.worker(t, settings...)
		id, seen := "", time.Time{}
		testkit.Eventually(t, dynamoStarts, "a worker more is ready at both, and asked", func() bool {
			for _, one := range d.instances() {
				if id == "" && !slices.Contains(before, one) && workers[one] == nil {
					id, seen = one, time.Now()
				}
			}
			return id != "" && time.Since(seen) > watchedAfter && d.say(id) == "ready ready" && d.asked(id)
		})
		workers[id] = p
		return id
	}
	stays, freezes := worker(), worker()

	t.Run("equal lists", func(t *testing.T) { d.equal(t) })
	t.Run("equal readiness of a model", func(t *testing.T) {
		const path = "/v1/models/tiny/ready"
		status, want := get(t.Context(), d.client, d.root+path)
		for _, root := range d.frontends {
			if ours, got := get(t.Context(), d.client, root+path); ours != status || string(got) != string(want) {
				t.Errorf("%s says %s %s, and Dynamo %s %s", root, ours, got, status, want)
			}
		}
	})
	t.Run("quiet", func(t *testing.T) {
		own := d.command("worker", "--namespace", "watch", "--rpc-bind", "127.0.0.1", "--rpc-port", "0", "--system-port", "0")
		p := testkit.Start(t, "dynmesh's worker", own)
		defer p.Kill()
		testkit.Eventually(t, patience, "it is listed", func() bool { return len(d.list(t, d.frontend, "watch")) == 1 })
		d.quiet(t, d.front, workers[stays], workers[freezes])
		d.equal(t)
	})
	t.Run("kill", func(t *testing.T) {
		pace := testkit.Paced(t)
		var took []time.Duration
		for range kills {
			id := worker()
			began := time.Now()
			workers[id].Kill()
			gone := time.Since(began)
			after := d.until(t, began, id, "unreachable")
			worst := pace.Longest(began)
			t.Logf("the kernel took %v to end it, and it was unreachable after %v; this machine was late by %v at worst", gone, after, worst)
			if worst < lateMost { // else nobody is measured but those who keep it busy
				// What the kernel takes to end it, and what keeps this process from its turn, is not dynmesh's.
				took = append(took, max(0, after-gone-turns*worst))
			}
		}
		if len(took) == 0 {
			install.LeftOut(t, "this machine is too busy to measure how soon a death is noticed")
		}
		slices.Sort(took)
		t.Logf("ended, unreachable at both frontends after %v, less six times the lateness: median %v, most %v", took, took[len(took)/2], took[len(took)-1])
		if took[len(took)/2] > killMedian || took[len(took)-1] > killMost {
			t.Errorf("want a median of %v and %v at most", killMedian, killMost)
		}
	})
	t.Run("freeze", func(t *testing.T) {
		began := time.Now()
		signal(t, workers[freezes], syscall.SIGSTOP)
		took := d.until(t, began, freezes, "unreachable")
		began = time.Now()
		signal(t, workers[freezes], syscall.SIGCONT)
		back := d.until(t, began, freezes, "ready")
		t.Logf("stopped, unreachable at both frontends after %v; gone on, ready after %v", took, back)
		if took > frozenMost {
			t.Errorf("want %v at most", frozenMost)
		}
	})
	t.Run("cut off", func(t *testing.T) {
		if err := canDrop(); err != nil {
			install.LeftOut(t, "packets are dropped by root, with iptables: %v", err)
		}
		id := worker("DYN_TCP_RPC_HOST="+apart, "DYN_SYSTEM_HOST="+apart)
		began := time.Now()
		heal := drop(t, apart)
		took := d.until(t, began, id, "unreachable")
		began = time.Now()
		heal()
		back := d.until(t, began, id, "ready")
		t.Logf("its address cut off, and its way to etcd not: unreachable at both frontends after %v; healed, ready after %v", took, back)
		if took > cutOffMost {
			t.Errorf("want %v at most", cutOffMost)
		}
		workers[id].Kill()
	})
	t.Run("drain and restart", func(t *testing.T) {
		signal(t, workers[freezes], syscall.SIGTERM)
		took := d.until(t, time.Now(), freezes, "")
		again := worker()
		t.Logf("shut down, gone from both frontends after %v; started again as %s", took, again)
		testkit.Eventually(t, patience, "the leases of the killed have ended", func() bool { return len(d.instances()) == 2 })
		d.equal(t)
	})
}

// start runs one of Dynamo's programs.
func (d *dynamo) start(t *testing.T, name, module string, args ...string) *testkit.Process {
	t.Helper()
	return testkit.Start(t, name, d.module(t, module, args...))
}

// module is one of Dynamo's programs, with a system port.
func (d *dynamo) module(t *testing.T, module string, args ...string) *exec.Cmd {
	t.Helper()
	common := []string{"-m", module, "--discovery-backend", "etcd", "--request-plane", "tcp", "--event-plane", "zmq"}
	cmd := exec.Command(filepath.Join(d.env, "bin", "python"), append(common, args...)...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "ETCD_ENDPOINTS=" + d.etcd.Endpoint(), "DYN_LOG=info",
		"HF_HUB_OFFLINE=1", "DYN_TCP_RPC_HOST=127.0.0.1", fmt.Sprintf("DYN_SYSTEM_PORT=%d", testkit.FreePort(t)),
	}
	return cmd
}

// worker starts a worker, with canaries off, as is Dynamo's default. Settings are of its
// environment.
func (d *dynamo) worker(t *testing.T, settings ...string) *testkit.Process {
	t.Helper()
	cmd := d.module(t, "dynamo.mocker", "--model-path", d.model, "--model-name", "tiny", "--speedup-ratio", "10")
	cmd.Env = append(cmd.Env, settings...)
	return testkit.Start(t, "Dynamo's worker", cmd)
}

// apart is a loopback address of nobody else's.
const apart = "127.83.0.9"

// canDrop returns why packets cannot be dropped here, if they cannot.
func canDrop() error {
	out, err := exec.Command("iptables", "--wait", "5", "--list", "INPUT", "--numeric").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// drop loses all packets to and from an address until it is healed.
func drop(t *testing.T, address string) (heal func()) {
	t.Helper()
	rules := [][]string{{"INPUT", "--destination", address, "--jump", "DROP"}, {"INPUT", "--source", address, "--jump", "DROP"}}
	do := func(what string) {
		for _, rule := range rules {
			if out, err := exec.Command("iptables", append([]string{"--wait", "5", what}, rule...)...).CombinedOutput(); err != nil {
				t.Errorf("iptables %s %s: %v: %s", what, strings.Join(rule, " "), err, out)
			}
		}
	}
	do("--append")
	heal = sync.OnceFunc(func() { do("--delete") })
	t.Cleanup(heal)
	return heal
}

func signal(t *testing.T, p *testkit.Process, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(p.PID(), sig); err != nil {
		t.Fatal(err)
	}
}

// list returns what a frontend lists at /health of a namespace, by instance and endpoint.
func (d *dynamo) list(t *testing.T, root, namespace string) map[string]any {
	var health struct {
		Instances []map[string]any `json:"instances"`
	}
	status, body := get(t.Context(), d.client, root+"/health")
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // IDs exceed 2^53
	if err := decoder.Decode(&health); status != "200" || err != nil {
		t.Logf("%s/health: %s, %v", root, status, err)
		return nil
	}
	all := map[string]any{}
	for _, i := range health.Instances {
		if i["namespace"] == namespace {
			all[fmt.Sprint(i["instance_id"], " ", i["endpoint"])] = i
		}
	}
	return all
}

// equal compares what is listed here with what Dynamo lists.
func (d *dynamo) equal(t *testing.T) {
	t.Helper()
	for _, root := range d.frontends {
		// Each hears of a change by a watch of its own: they agree soon, and not at every moment.
		testkit.Eventually(t, patience, root+" lists what Dynamo lists", func() bool {
			got := d.list(t, root, "dynamo")
			return len(got) > 0 && reflect.DeepEqual(got, d.list(t, d.root, "dynamo"))
		})
	}
}

// generate is what its workers serve.
const generate = "/mesh/dynamo.backend.generate"

// ask returns what a frontend knows of an endpoint.
func (d *dynamo) ask(root string) (instances []mesh.Instance) {
	_, body := get(context.Background(), d.client, root+generate)
	var m mesh.Mesh
	if json.Unmarshal(body, &m) != nil || len(m.Endpoints) == 0 {
		return nil
	}
	return m.Endpoints[0].Instances
}

// instances returns the IDs of those that the first frontend knows.
func (d *dynamo) instances() (ids []string) {
	for _, i := range d.ask(d.frontend) {
		ids = append(ids, i.ID.String())
	}
	return ids
}

// say returns the verdicts of both frontends on an instance, with a space between them.
func (d *dynamo) say(id string) string {
	verdicts := make([]string, len(d.frontends))
	for n, root := range d.frontends {
		for _, i := range d.ask(root) {
			if i.ID.String() == id {
				verdicts[n] = string(i.Verdict)
			}
		}
	}
	return strings.Join(verdicts, " ")
}

// asked says whether two watch an instance, and one of them asks its system port.
func (d *dynamo) asked(id string) bool {
	for _, i := range d.ask(d.frontend) {
		if i.ID.String() != id {
			continue
		}
		asked := slices.ContainsFunc(i.Observations, func(o mesh.Observation) bool { return o.Kind == "system" && o.Detail != "" })
		return asked && len(i.Observations) == 2
	}
	return false
}

// until waits for both frontends to say the same of an instance, empty for nothing, and returns how
// long that took.
func (d *dynamo) until(t *testing.T, began time.Time, id, verdict string) time.Duration {
	t.Helper()
	want := strings.TrimSuffix(strings.Repeat(verdict+" ", len(d.frontends)), " ")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticks := time.NewTicker(2 * time.Millisecond)
	defer ticks.Stop()
	for {
		said := d.say(id)
		if said == want {
			return time.Since(began)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s is %q after %v, want %q", id, said, patience, want)
		case <-ticks.C:
		}
	}
}

// quiet counts the lines that programs write while nothing happens but that dynmesh is there.
func (d *dynamo) quiet(t *testing.T, all ...*testkit.Process) {
	t.Helper()
	wait := quietFor
	if own := os.Getenv("DYNMESH_DYNAMO_QUIET"); own != "" {
		var err error
		if wait, err = time.ParseDuration(own); err != nil {
			t.Fatalf("DYNMESH_DYNAMO_QUIET: %v", err)
		}
	}
	before := make([]string, len(all))
	for n, p := range all {
		before[n] = p.Log.String()
	}
	select {
	case <-time.After(wait):
	case <-t.Context().Done():
	}
	lines := 0
	for n, p := range all {
		said := strings.TrimPrefix(p.Log.String(), before[n])
		lines += strings.Count(said, "\n")
		if said != "" {
			t.Errorf("within %v of nothing, a program of Dynamo's wrote:\n%s", wait, said)
		}
	}
	t.Logf("%d programs of Dynamo's wrote %d lines in %v, with two frontends and a worker of dynmesh on their etcd", len(all), lines, wait)
}
