package loss

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/e2e/rig"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// cell is a router before replicas.
type cell struct {
	t        *testing.T
	tools    *rig.Tools
	replicas []*replica
}

// stand is where its router stands, which finds the replicas where they are by now.
func (c *cell) stand() *rig.Stand {
	s := &rig.Stand{T: c.t, Tools: c.tools}
	for _, r := range c.replicas {
		s.Addrs = append(s.Addrs, r.addr)
	}
	return s
}

const (
	// warmup is how many requests the replica that breaks has answered before. Of one
	// that has answered fewer, dynmesh does not know how fast it is: its stall budget is 60 s.
	warmup = 10
	// calm is how long requests come before a fault, at the cell's rate.
	calm = 3 * time.Second
)

// measure runs a cell.
func measure(t *testing.T, b *rig.Tools, pace *testkit.Pace, s spec) (o outcome) {
	c := &cell{t: t, tools: b}
	var model string
	c.replicas, model = startReplicas(t, b, s)
	url := s.router.start(c)
	ctx := t.Context()

	probe := newLoad(url, model)
	testkit.Eventually(t, rig.Startup, "a request gets through "+s.router.name, func() bool { return probe.complete(ctx, "hello") == nil })
	warm := newLoad(url, model)
	testkit.Eventually(t, rig.Startup, "the replica that is to break has answered some requests", func() bool {
		warm.send(ctx, warmup*s.engines, max(s.rate, 40))
		return s.kind != mock || c.replicas[0].done(ctx) >= warmup
	})
	warm.wait()
	if all, good := warm.answered(); good < all {
		t.Fatalf("%d of %d requests were lost before anything broke: %s", all-good, all, warm.count(time.Time{}).first)
	}

	l := newLoad(url, model)
	began := time.Now()
	defer func() { o.late = pace.Longest(began) }()
	if s.fault.idle {
		struck := time.Now()
		s.fault.inject(t, c.replicas)
		select {
		case <-time.After(idleTime):
		case <-ctx.Done():
		}
		l.send(ctx, idleRequests, idleRequests)
		l.wait()
		return l.outcome(s, struck)
	}
	l.send(ctx, int(calm.Seconds())*s.rate, s.rate)
	struck := time.Now()
	s.fault.inject(t, c.replicas)
	half := int(s.window().Seconds()) * s.rate / 2
	l.send(ctx, half, s.rate)
	share := c.share(s)
	l.send(ctx, half, s.rate)
	l.wait()
	o = l.outcome(s, struck)
	o.share = share()
	return o
}

// share begins to count which part of all answers a slow replica gives from now on. Of other faults
// it asks nobody: one that is frozen would keep the requests that are to come waiting.
func (c *cell) share(s spec) func() float64 {
	count := func() (broken, all int) {
		if s.fault.name != "S" {
			return 0, 0
		}
		for n, r := range c.replicas {
			done := max(0, r.done(c.t.Context()))
			if all += done; n == 0 {
				broken = done
			}
		}
		return broken, all
	}
	broken, all := count()
	return func() float64 {
		b, a := count()
		return float64(b-broken) / float64(max(1, a-all))
	}
}
