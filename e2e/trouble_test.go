package e2e

import (
	"context"
	"strings"
	"syscall"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A trouble is something that the mesh can name.
type trouble struct {
	name   string
	victim *worker
	named  func(s saying) bool // /mesh says so
	inject func()
	heal   func()
}

// troubles are one of each kind.
func (w *world) troubles(e *etcd, workers []*worker) []trouble {
	lost := func(verdict string) func(saying) bool {
		return func(s saying) bool { return s.instance.Verdict == verdict && s.endpoint.Ready == len(workers)-1 }
	}
	all := []trouble{
		killed(w, e, workers[0], lost("unreachable")),
		suffers(w, frozen{workers[1]}, workers[1], lost("unreachable")),
		turned(w, "an engine freezes", `{"freeze":1}`, workers[2], lost("notready")),
		turned(w, "an engine fails", `{"error_status":503}`, workers[3], lost("notready")),
		stalled(w, workers[2], lost("notready")),
		draining(w, e, workers[3], lost("draining")),
		suffers(w, etcdStopped{server: e.servers[0], by: syscall.SIGTERM, disk: sameDisk}, workers[0], func(s saying) bool { return s.discovery == "stale" }),
		junk(w, e, workers[0]),
	}
	if _, docker := w.site.(*dockerSite); docker {
		all = append(all, suffers(w, cutOff{workers[4]}, workers[4], lost("unreachable")))
	}
	return all
}

func suffers(w *world, f fault, victim *worker, named func(saying) bool) trouble {
	return trouble{f.String(), victim, named, func() { f.inject(w) }, func() { f.heal(w) }}
}

func turned(w *world, name, knobs string, victim *worker, named func(saying) bool) trouble {
	return trouble{name, victim, named, func() { victim.turn(w.t, knobs) }, func() { victim.turn(w.t, `{}`) }}
}

// killed has the lease revoked in the end, so that what it was is forgotten before the next
// trouble.
func killed(w *world, e *etcd, victim *worker, named func(saying) bool) trouble {
	return trouble{"killed", victim, named, func() { w.must("kill", victim.signal(syscall.SIGKILL)) }, func() {
		w.must("revoke its lease", e.do(func(ctx context.Context) error {
			_, err := e.client.Revoke(ctx, clientv3.LeaseID(victim.id))
			return err
		}))
		w.restart(e, victim)
	}}
}

// stalled has a request in flight that does not move: no canary is sent then.
func stalled(w *world, victim *worker, named func(saying) bool) trouble {
	var rest func() (int, error)
	return trouble{"an engine stalls", victim, func(s saying) bool { return named(s) && strings.Contains(s.reason, "stalls") }, func() {
		victim.turn(w.t, `{"freeze":1}`)
		rest = begin(w.t, victim)
	}, func() {
		victim.turn(w.t, `{}`)
		_, err := rest()
		w.must("the rest of the answer", err)
	}}
}

// draining has a request in flight that keeps the worker from ending.
func draining(w *world, e *etcd, victim *worker, named func(saying) bool) trouble {
	var rest func() (int, error)
	return trouble{"draining", victim, func(s saying) bool { return named(s) && !s.instance.Registered }, func() {
		victim.turn(w.t, `{"tokens":40,"token_delay":"100ms"}`) // its knobs are gone with the signal
		rest = begin(w.t, victim)
		w.must("stop", victim.signal(syscall.SIGTERM))
	}, func() {
		_, err := rest()
		w.must("the rest of the answer", err)
		w.restart(e, victim)
	}}
}

func junk(w *world, e *etcd, beside *worker) trouble {
	one := entry("dynamo", "backend", "generate", 0xbad01, map[string]string{"instance_id": `"0xbad"`})
	return trouble{"junk in the registry", beside, func(s saying) bool { return len(s.warnings) == 1 && strings.Contains(s.warnings[0], one.key) }, func() {
		w.must("put "+one.key, e.put(one.key, one.value))
	}, func() {
		w.must("delete "+one.key, e.do(func(ctx context.Context) error {
			_, err := e.client.Delete(ctx, one.key)
			return err
		}))
	}}
}
