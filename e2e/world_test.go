package e2e

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

const (
	leaseTTL = 10 * time.Second // the default, which is what most fleets run with
	// settled bounds what should take a moment and is not what a scenario measures.
	settled = 30 * time.Second
	// logTail is how many of each program's last lines a failed test prints.
	logTail = 60
)

// world is one test's fleet.
type world struct {
	t       *testing.T
	site    site
	dynmesh string // the program, for commands that people run
	pace    *testkit.Pace
}

func newWorld(t *testing.T, e engine) *world {
	return &world{t: t, site: e.newSite(t), dynmesh: e.file(dynmeshBinary), pace: testkit.Paced(t)}
}

func (w *world) launch(spec spec) program {
	w.t.Helper()
	p, err := w.site.launch(spec)
	// Registered after the clean-up that removes it, and so run before.
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.printLog(p)
		}
	})
	w.must("start "+spec.place.name, err)
	return p
}

func (w *world) printLog(p program) {
	s, serr := p.state()
	log, lerr := p.logs()
	lines := strings.Split(strings.TrimSpace(log), "\n")
	lines = lines[max(0, len(lines)-logTail):]
	for i, line := range lines {
		lines[i] = line[:min(len(line), 1000)]
	}
	w.t.Logf("%s: %v; the end of its log:\n%s", p.where().name, s, strings.Join(lines, "\n"))
	if err := errors.Join(serr, lerr); err != nil {
		w.t.Logf("%s: %v", p.where().name, err)
	}
}

func (w *world) must(what string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

// startFrontends starts so many frontends and returns once each says that it has read the registry.
func (w *world) startFrontends(e *etcd, count int) []*frontend {
	w.t.Helper()
	return w.startFrontendsWith(e, count, nil)
}

// startFrontendsWith is startFrontends with more settings.
func (w *world) startFrontendsWith(e *etcd, count int, more map[string]string) []*frontend {
	w.t.Helper()
	return w.startFrontendsAs(e, "frontend", count, more)
}

// startFrontendsAs is startFrontendsWith with names that begin otherwise.
func (w *world) startFrontendsAs(e *etcd, name string, count int, more map[string]string) []*frontend {
	w.t.Helper()
	var out []*frontend
	for i := range count {
		p := w.site.reserve(fmt.Sprintf("%s%d", name, i), httpPort)
		env := map[string]string{"DYN_HTTP_HOST": p.bind, "DYN_HTTP_PORT": p.number(httpPort)}
		maps.Copy(env, more)
		out = append(out, &frontend{program: w.launch(spec{
			place: p, binary: dynmeshBinary, etcd: e.addresses(), args: []string{"frontend"}, env: env,
		})})
	}
	for _, f := range out {
		eventually(w.t, settled, f.name()+" is synced", func() error {
			h, err := f.health(ask())
			if err == nil && h.discovery != "synced" {
				err = fmt.Errorf("got %q, want synced", h.header)
			}
			return err
		})
	}
	return out
}

// startWorkers starts so many workers, each with these endpoints of dynamo.backend, and returns
// once the frontends list them. Their names continue from first.
func (w *world) startWorkers(e *etcd, first, count int, endpoints ...string) []*worker {
	w.t.Helper()
	return w.startWorkersWith(e, first, count, nil, endpoints...)
}

// startWorkersWith is startWorkers with more settings.
func (w *world) startWorkersWith(e *etcd, first, count int, more map[string]string, endpoints ...string) []*worker {
	w.t.Helper()
	var out []*worker
	for i := range count {
		p := w.site.reserve(fmt.Sprintf("worker%d", first+i), systemPort, rpcPort, controlPort, gossipPort)
		args := []string{"worker", "--mock-control", p.listen(controlPort)}
		for _, endpoint := range endpoints {
			args = append(args, "--endpoint", endpoint)
		}
		env := map[string]string{
			"DYN_SYSTEM_PORT": p.number(systemPort), "DYN_HTTP_RPC_PORT": p.number(rpcPort),
			"ETCD_LEASE_TTL": fmt.Sprint(int(leaseTTL.Seconds())), "DYN_COMPONENT": "backend",
			"DYN_GOSSIP_BIND": p.listen(gossipPort), // so that the next life of it is where this one was
		}
		maps.Copy(env, more)
		if p.bind != "0.0.0.0" {
			env["DYN_SYSTEM_HOST"], env["DYN_HTTP_RPC_HOST"] = p.bind, p.bind
		}
		out = append(out, &worker{component: env["DYN_COMPONENT"], endpoints: endpoints, program: w.launch(spec{
			place: p, binary: dynmeshBinary, etcd: e.addresses(), args: args, env: env,
		})})
	}
	for _, worker := range out {
		eventually(w.t, settled, worker.name()+" is registered", func() error { return worker.findID(e) })
	}
	return out
}

// kill ends a program and returns once it has ended.
func (w *world) kill(p program, sig syscall.Signal) {
	w.t.Helper()
	w.must("signal "+p.where().name, p.signal(sig))
	w.awaitEnd(p)
}

func (w *world) awaitEnd(p program) (s state) {
	w.t.Helper()
	eventually(w.t, settled, p.where().name+" ends", func() (err error) {
		if s, err = p.state(); err == nil && s.running {
			err = fmt.Errorf("it is %v", s)
		}
		return err
	})
	return s
}
