package grey

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/e2e/rig"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// replica is an engine, and what stands before it.
type replica struct {
	t      *testing.T
	engine *rig.Engine
	addr   string           // that takes requests
	worker *testkit.Process // of dynmesh's; nil before a router
	front  *front           // before a router; nil else
}

// fleet is dynmesh before replicas, of which the first breaks.
type fleet struct {
	*rig.Fleet
	t        *testing.T
	replicas []*replica
	broken   dynmesh.InstanceID // which is to be found
	network  *oneWay            // that the first is in; nil: the others'

	running sync.WaitGroup
	leave   context.CancelFunc // ends all that runs
	ctx     context.Context
}

const (
	// patience is how long clients wait for a whole answer.
	patience = 30 * time.Second
	// warmup is how many requests each replica has answered before: of one that has answered none,
	// dynmesh does not know how fast it is.
	warmup = 20
	// polled is how often the frontend is asked. What it says is known that much later.
	polled = 100 * time.Millisecond
)

// Settings that are off by default: answers has answers compared, and pairCanary pairs asked.
const (
	answers    = "--quality-canary"
	pairCanary = "--pair-canary"
)

// settings are a worker's that are no defaults: where nothing else tells, by a dynmesh that can.
func settings(t *testing.T, b *rig.Tools, f fault) []string {
	t.Helper()
	if f.setting == "" {
		return nil
	}
	help, err := exec.CommandContext(t.Context(), b.Dynmesh, "worker", "--help").Output()
	if err != nil {
		t.Fatalf("worker --help: %v", err)
	}
	if !bytes.Contains(help, []byte(f.setting)) {
		return nil
	}
	return []string{f.setting, "on"}
}

// startFleet starts replicas, and waits until all are ready and have been used. Its frontend gets
// more arguments.
func startFleet(t *testing.T, b *rig.Tools, s spec, frontend ...string) *fleet {
	t.Helper()
	f := &fleet{t: t}
	f.ctx, f.leave = context.WithCancel(t.Context())
	t.Cleanup(f.end)
	home := rig.Here()
	if s.fault.name == "one-way" {
		f.network = newOneWay(t)
		home.Host = f.network.near
	}
	f.Fleet = rig.StartFleet(t, b, home, frontend...)
	more := settings(t, b, s.fault)
	for n := range s.replicas {
		r := &replica{t: t}
		at, etcd := home, f.Etcd.Endpoint()
		if n == 0 && f.network != nil {
			at, etcd = f.network.place(), f.network.etcd(f.Fleet)
		}
		r.engine = rig.MockEngine(t, b, at, fmt.Sprintf("engine %d", n))
		r.engine.Answers(t)
		r.engine.Turn(t, withPace(s.fault.before))
		r.worker, r.addr = f.WorkerAt(at, etcd, fmt.Sprintf("worker %d", n), r.engine.Addr, more...)
		f.replicas = append(f.replicas, r)
	}
	if s.fault.setting == pairCanary && len(more) > 0 {
		f.startPrefills(b, home)
	}
	f.AllReady(s.replicas)
	f.broken = f.id(f.replicas[0])
	f.load(warmup*s.replicas, 10*s.replicas)
	return f
}

// startPrefills starts the engines that requests say their prompt was read by.
func (f *fleet) startPrefills(b *rig.Tools, at rig.Place) {
	for _, name := range pairs() {
		engine := rig.MockEngine(f.t, b, at, name)
		engine.Answers(f.t)
		engine.Turn(f.t, withPace(fmt.Sprintf(`"engine_id":%q`, name)))
		f.WorkerAt(at, f.Etcd.Endpoint(), "worker of "+name, engine.Addr, "--component", "prefill")
	}
}

// end ends requests, and waits for them.
func (f *fleet) end() {
	f.leave()
	f.running.Wait()
}

// id is that of a replica's instance.
func (f *fleet) id(r *replica) dynmesh.InstanceID {
	f.t.Helper()
	for _, i := range instances(f.Mesh(f.t.Context())) {
		if bytes.Contains(i.Transport, []byte(r.addr)) {
			return i.ID
		}
	}
	f.t.Fatalf("nothing is registered at %s", r.addr)
	return 0
}

func instances(m mesh.Mesh) []mesh.Instance {
	for _, e := range m.Endpoints {
		if e.Name == rig.Target {
			return e.Instances
		}
	}
	return nil
}

// load sends requests to the replicas in turn, as a router does that knows nothing of them, and
// returns when the last was sent.
func (f *fleet) load(n, rate int) {
	client := rig.NewClient(patience)
	rig.Pace(f.ctx, n, rate, func(i int) {
		r := f.replicas[i%len(f.replicas)]
		f.running.Go(func() {
			_ = rig.Complete(f.ctx, client, "http://"+r.addr, body(i)) // what becomes of requests is e2e/loss's to count
		})
	})
}

// body is that of a request. Its pair changes whenever each replica has had one.
func body(i int) string {
	pair := pairs()[i/8%len(pairs())]
	return rig.Chat("mock", fmt.Sprintf("%x bottles of %d kinds", i*7919, i), fmt.Sprintf(`,"kv_transfer_params":{"remote_engine_id":%q}`, pair))
}

// measure runs a cell of dynmesh's.
func measure(t *testing.T, b *rig.Tools, pace *testkit.Pace, s spec) (o outcome) {
	f := startFleet(t, b, s)
	defer f.end()
	o = outcome{spec: s}
	if s.idle {
		// Canaries of an idle engine are 10 s apart: the fault comes at another moment in each cell.
		_ = timers.Sleep(t.Context(), 2*time.Second+time.Duration(s.number*37%100)*100*time.Millisecond)
	} else {
		f.running.Go(func() { f.load(1000*s.rate, s.rate) })
		_ = timers.Sleep(t.Context(), 5*time.Second)
	}
	alarms := alarms{}
	alarms.look(f, f.Mesh(t.Context()))
	struck := time.Now()
	if s.fault.knobs != "" {
		f.replicas[0].engine.Turn(t, withPace(s.fault.knobs))
	} else {
		s.fault.strike(f)
	}
	ticks := time.NewTicker(polled)
	defer ticks.Stop()
	for time.Since(struck) < s.window() && !o.right {
		m := f.Mesh(t.Context())
		alarms.look(f, m)
		said, verdict := f.of(m)
		right := s.fault.said(said)
		if verdict != "" && verdict != dynmesh.Ready || right != "" && s.fault.beside {
			if !o.found {
				o.found, o.after = true, time.Since(struck)
			}
			o.right = right != "" && (!s.fault.beside || verdict == dynmesh.Ready)
			o.reason = cmp.Or(right, cmp.Or(said...))
			if time.Since(struck) > o.after+reasoning {
				break
			}
		}
		select {
		case <-ticks.C:
		case <-t.Context().Done():
			return o
		}
	}
	o.alarms, o.late = alarms.lines(), pace.Longest(struck)
	return o
}

// reasoning is how much later than the verdict the right reason may be there.
const reasoning = 5 * time.Second

// of is what is said of the one that is broken.
func (f *fleet) of(m mesh.Mesh) (said []string, verdict dynmesh.VerdictState) {
	for _, i := range instances(m) {
		if i.ID == f.broken {
			said, verdict = i.Reasons, i.Verdict
			if i.Cause != "" {
				for _, c := range m.Causes {
					if c.Name == i.Cause {
						said = append(said, c.Line)
					}
				}
			}
		}
	}
	return said, verdict
}

// alarms are what is said first of each that is well.
type alarms map[dynmesh.InstanceID]string

// look takes in what a frontend says of those that are not broken.
func (a alarms) look(f *fleet, m mesh.Mesh) {
	for _, i := range instances(m) {
		if i.ID == f.broken || a[i.ID] != "" {
			continue
		}
		if i.Verdict != dynmesh.Ready {
			a[i.ID] = fmt.Sprintf("%s %s: %s", i.ID, i.Verdict, cmp.Or(i.Reasons...))
		} else if len(i.Remarks) > 0 {
			a[i.ID] = fmt.Sprintf("%s: %s", i.ID, i.Remarks[0].Text)
		}
	}
}

func (a alarms) lines() []string { return slices.Sorted(maps.Values(a)) }
