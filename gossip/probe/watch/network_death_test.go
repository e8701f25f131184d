package watch

import (
	"slices"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// find has each of many watched workers become something at a random moment, and returns how long
// each watcher took to say so.
func find(t *testing.T, s state, want dynmesh.Reason, change func(*network)) []time.Duration {
	t.Helper()
	var took []time.Duration
	for seed := range 100 {
		n := newNetwork(uint64(seed))
		change(n)
		w := &worker{}
		a, b := n.member(w), n.member(w)
		at := 20*time.Second + time.Duration(n.rng.Int64N(int64(5*time.Second)))
		n.after(at, func() { n.become(w, s) })
		n.run(at + 10*time.Second)
		for _, x := range []*watcher{a, b} {
			// A better reason may come later.
			if len(x.log) < 2 || x.log[0].Finding.Finding != dynmesh.Pass || x.log[1].Finding.Finding != dynmesh.Fail ||
				x.finding() != dynmesh.Fail || x.watch.Finding().Reason != want {
				t.Fatalf("seed %d: got %+v, want a pass and then a failure for %q", seed, x.log, want)
			}
			f := x.log[1]
			took = append(took, f.at-at)
		}
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))].Round(time.Millisecond) }
	t.Logf("found after: p1 %v, p50 %v, p99 %v, max %v", at(0.01), at(0.5), at(0.99), at(1))
	return took
}

// TestFindingTimes is how long it takes, by what happened and how far away it is.
func TestFindingTimes(t *testing.T) {
	far := func(n *network) { n.delay = 100 * time.Millisecond }
	near := func(*network) {}
	for _, tc := range []struct {
		name   string
		state  state
		reason dynmesh.Reason
		change func(*network)
		max    time.Duration
	}{
		{"silent", silent, dynmesh.ReasonTimeout, near, 3 * time.Second},
		{"silent and far", silent, dynmesh.ReasonTimeout, far, 3300 * time.Millisecond},
		{"frozen", frozen, dynmesh.ReasonFrozen, near, 3 * time.Second},
		// The kernel's word takes a way, and the question another way and back.
		{"killed", dead, dynmesh.ReasonRefused, near, 3 * time.Millisecond},
		{"killed and far", dead, dynmesh.ReasonRefused, far, 300 * time.Millisecond},
		{"killed, and its port is closed last", dying, dynmesh.ReasonRefused, near, 60 * time.Millisecond},
		{"replaced", other, dynmesh.ReasonUnreachable, near, 3 * time.Millisecond},
		{"no packets, and killed", dead, dynmesh.ReasonRefused, func(n *network) { n.udp = false }, 3 * time.Millisecond},
		{"no packets, and silent", silent, dynmesh.ReasonTimeout, func(n *network) { n.udp = false }, 5 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			took := find(t, tc.state, tc.reason, tc.change)
			if last := took[len(took)-1]; last > tc.max {
				t.Errorf("found after %v, want %v at most", last, tc.max)
			}
		})
	}
}

// It does not matter how long a worker has been watched when it is killed, nor whether it was there
// at all.
func TestYoungDeathsAreFoundAtOnce(t *testing.T) {
	for _, ends := range []state{dead, dying} {
		for seed := range 1000 {
			n := newNetwork(uint64(seed))
			w := &worker{}
			at := time.Duration(n.rng.Int64N(int64(2 * time.Second)))
			switch seed % 10 {
			case 0:
				at = time.Duration(n.rng.Int64N(int64(5 * time.Millisecond))) // while the tripwire is being opened
			case 1:
				at = 0
			}
			n.after(at, func() { n.become(w, ends) })
			x := n.member(w)
			n.run(at + time.Second)
			if f := x.watch.Finding(); f.Finding != dynmesh.Fail || f.Reason != dynmesh.ReasonRefused {
				t.Fatalf("seed %d: killed after %v: got %+v, want it refused", seed, at, x.log)
			}
			for _, said := range x.log {
				if took := said.at - at; said.Finding.Finding == dynmesh.Fail && took > 60*time.Millisecond {
					t.Errorf("seed %d: killed after %v: found %v later", seed, at, took)
				}
			}
		}
	}
}
