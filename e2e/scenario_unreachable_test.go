package e2e

import (
	"fmt"
	"testing"
	"time"
)

// workerKilled: of ten workers one is killed with SIGKILL, again and again. Every frontend says
// that it is unreachable long before its lease ends, and its new life is never called so.
func workerKilled(t *testing.T, w *world, full bool) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 2)
	workers := w.startWorkers(e, 0, 10, "generate")
	awaitVerdict(t, settled, frontends, "ready", workers...)
	beside := startBeside(w, e, len(workers), full)

	var times []time.Duration
	for i := range pick(full, 3, 20) {
		victim := workers[i%len(workers)]
		restarted := time.Now()
		vigils := w.neverUnreachable(frontends, without(workers, victim)...)
		began := w.crash(beside.with(i%len(workers), victim)...)
		awaitVerdict(t, 5*time.Second, frontends, "unreachable", victim)
		times = append(times, w.pace.Since(began))
		beside.measure(i%len(workers), victim, began)
		w.restart(e, victim)
		awaitVerdict(t, settled, frontends, "ready", victim)
		end(t, vigils...)
		m, err := frontends[0].mesh(ask())
		w.must("mesh", err)
		if n := m.falls(restarted, victim); n > 0 {
			t.Errorf("the new life of %s was called unreachable %d times", victim.name(), n)
		}
		beside.restart(i % len(workers))
	}
	report(t, full, "killed → unreachable on every frontend", times, 300*time.Millisecond, time.Second)
	beside.report(t)
}

// hostVanishes: of ten workers one stands still, or its network is cut, without a word to anybody.
func hostVanishes(t *testing.T, w *world, full bool) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 2)
	workers := w.startWorkers(e, 0, 10, "generate")
	awaitVerdict(t, settled, frontends, "ready", workers...)
	beside := startBeside(w, e, len(workers), full)

	var times, back []time.Duration
	for i := range pick(full, 4, 20) {
		victim := workers[i%len(workers)]
		vigils := w.neverUnreachable(frontends, without(workers, victim)...)
		var f fault = frozen{victim}
		if _, docker := w.site.(*dockerSite); i%2 == 1 && docker {
			f = cutOff{victim}
		}
		began := time.Now() // what docker takes to do it is counted, too
		w.during(f, func() {
			broken := time.Now()
			beside.inject(i%len(workers), f)
			awaitVerdict(t, 10*time.Second, frontends, "unreachable", victim)
			times = append(times, w.pace.Since(began))
			beside.measure(i%len(workers), victim, broken)
		})
		back = append(back, awaitVerdict(t, settled, frontends, "ready", victim))
		beside.heal(i%len(workers), f)
		end(t, vigils...)
	}
	report(t, full, "vanished → unreachable on every frontend", times, 3*time.Second, 5*time.Second)
	p50, longest := quantiles(back)
	t.Logf("back → ready on every frontend: p50 %v, longest %v", millis(p50), millis(longest))
	beside.report(t)
}

func without(workers []*worker, but *worker) (out []*worker) {
	for _, w := range workers {
		if w != but {
			out = append(out, w)
		}
	}
	return out
}

// report says a series of times, and fails where it is longer than it may be. The median of a few
// says little: it is held only against a whole series.
func report(t *testing.T, full bool, what string, times []time.Duration, p50Goal, longestGoal time.Duration) {
	t.Helper()
	p50, longest := quantiles(times)
	t.Logf("%s: p50 %v (goal %v), longest %v (goal %v), %d times", what, millis(p50), p50Goal, millis(longest), longestGoal, len(times))
	if longest > longestGoal || full && p50 > p50Goal {
		t.Errorf("%s: got p50 %v and longest %v, want %v and %v at most", what, millis(p50), millis(longest), p50Goal, longestGoal)
	}
}

// beside measures, in the same run, what there would be without dynmesh: bare memberlist, and the
// lease. Only where the run is long: each takes ten seconds.
type beside struct {
	etcd   *etcd
	bare   *barePool
	dead   []time.Duration // bare memberlist: broken → declared dead
	leases []time.Duration // broken → its key gone from etcd
}

func startBeside(w *world, e *etcd, members int, full bool) *beside {
	w.t.Helper()
	if !full {
		return nil
	}
	return &beside{etcd: e, bare: w.startBare(members)}
}

// with is a worker, and the bare member that is to suffer the same.
func (b *beside) with(i int, victim *worker) []program {
	if b == nil {
		return []program{victim}
	}
	return []program{victim, b.bare.members[i]}
}

func (b *beside) restart(i int) {
	if b != nil {
		b.bare.restart(i)
	}
}

func (b *beside) inject(i int, like fault) {
	if b != nil {
		b.same(i, like).inject(b.bare.world)
	}
}

func (b *beside) heal(i int, like fault) {
	if b != nil {
		began := time.Now()
		b.same(i, like).heal(b.bare.world)
		b.bare.await(i, "alive", began)
		b.bare.settle()
	}
}

// same is the fault for a bare member that a worker suffers.
func (b *beside) same(i int, like fault) fault {
	if _, ok := like.(frozen); ok {
		return frozen{b.bare.members[i]}
	}
	return cutOff{b.bare.members[i]}
}

// measure waits until the lease of the worker that was broken has ended, and its bare member is
// declared dead.
func (b *beside) measure(i int, broken *worker, began time.Time) {
	if b == nil {
		return
	}
	t := b.bare.world.t
	t.Helper()
	eventually(t, time.Minute, "the lease of "+broken.name()+" ends", func() error {
		found, err := b.etcd.list(broken.inEtcd()[0])
		if err == nil && len(found) > 0 {
			err = fmt.Errorf("its key is in etcd")
		}
		return err
	})
	b.leases = append(b.leases, time.Since(began))
	b.dead = append(b.dead, b.bare.await(i, "dead", began))
}

func (b *beside) report(t *testing.T) {
	if b == nil {
		return
	}
	p50, longest := quantiles(b.dead)
	t.Logf("beside: bare memberlist declares it dead: p50 %v, longest %v", millis(p50), millis(longest))
	p50, longest = quantiles(b.leases)
	t.Logf("beside: its lease ends: p50 %v, longest %v", millis(p50), millis(longest))
}
