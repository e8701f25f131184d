package watch

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// TestFaults is what a watcher says while something goes on for a minute: of the worker, of the
// network, or of itself.
func TestFaults(t *testing.T) {
	pass := Finding{Finding: dynmesh.Pass}
	portRefused := Finding{dynmesh.Fail, dynmesh.ReasonRefused, "its port of requests refuses connections"}
	each := func(n *network, d time.Duration, do func()) {
		var again func()
		again = func() { do(); n.after(d, again) }
		n.after(d, again)
	}
	for _, tc := range []struct {
		name     string
		fault    func(*network, *watcher)
		want     []Finding // after the first pass
		within   time.Duration
		degraded bool
		dials    float64 // a second, at most
	}{
		{name: "nothing", fault: func(*network, *watcher) {}, dials: 0.3},
		{name: "a middlebox closes what is idle", dials: 0.4,
			fault: func(n *network, w *watcher) { each(n, 20*time.Second, func() { n.trip(w) }) }},
		{name: "a middlebox closes everything at once", dials: 0.6,
			fault: func(n *network, w *watcher) { each(n, 10*time.Millisecond, func() { n.trip(w) }) }},
		{name: "no packets get through", dials: 4, degraded: true,
			fault: func(n *network, _ *watcher) { n.udp = false }},
		{name: "no packets get through, and all connections are cut", dials: 4, degraded: true,
			fault: func(n *network, w *watcher) { n.udp = false; n.trip(w) }},
		{name: "its port of requests is closed", dials: 1, within: 6 * time.Second, want: []Finding{portRefused},
			fault: func(_ *network, w *watcher) { w.worker.service = dead }},
		{name: "its port of requests is closed, and opened again", dials: 1, within: 14 * time.Second, want: []Finding{portRefused, pass},
			fault: func(n *network, w *watcher) {
				w.worker.service = dead
				n.after(8*time.Second, func() { w.worker.service = well })
			}},
		{name: "its port of requests swallows packets", dials: 10, within: 10 * time.Second,
			want:  []Finding{{dynmesh.Fail, dynmesh.ReasonTimeout, "its port of requests accepts no connection"}},
			fault: func(_ *network, w *watcher) { w.worker.service = silent }},
		{name: "frozen for a second", dials: 0.5,
			fault: func(n *network, w *watcher) {
				n.become(w.worker, frozen)
				n.after(time.Second, func() { n.become(w.worker, well) })
			}},
		{name: "frozen, and thawed", dials: 1, within: 11 * time.Second,
			want: []Finding{{dynmesh.Fail, dynmesh.ReasonFrozen, "accepts connections but does not answer"}, pass},
			fault: func(n *network, w *watcher) {
				n.become(w.worker, frozen)
				n.after(6*time.Second, func() { n.become(w.worker, well) })
			}},
		{name: "vanished while this process is unwell", dials: 3, within: 3 * time.Second, want: []Finding{{}},
			fault: func(n *network, w *watcher) { w.unwell = true; n.become(w.worker, silent) }},
		{name: "killed while this process is unwell", dials: 1, within: 10 * time.Millisecond,
			want:  []Finding{{dynmesh.Fail, dynmesh.ReasonRefused, "its port of gossip refuses connections"}},
			fault: func(n *network, w *watcher) { w.unwell = true; n.become(w.worker, dead) }},
		{name: "vanished while this process is unwell, and then well", dials: 3, within: 12 * time.Second,
			want: []Finding{{}, {dynmesh.Fail, dynmesh.ReasonTimeout, "no answer, and no connection"}},
			fault: func(n *network, w *watcher) {
				w.unwell = true
				n.become(w.worker, silent)
				n.after(6*time.Second, func() { w.unwell = false })
			}},
		{name: "this process is starved", dials: 0.5,
			fault: func(n *network, w *watcher) {
				each(n, 450*time.Millisecond, func() { w.asleep = n.now + 400*time.Millisecond })
			}},
		{name: "this process is starved, and the worker freezes", dials: 2, within: 45 * time.Second,
			want: []Finding{{}, {dynmesh.Fail, dynmesh.ReasonFrozen, "accepts connections but does not answer"}}, // at a time when it is not late
			fault: func(n *network, w *watcher) {
				each(n, 450*time.Millisecond, func() { w.asleep = n.now + 400*time.Millisecond })
				n.become(w.worker, frozen)
			}},
		{name: "this process stood still for 10 s", dials: 0.5,
			fault: func(n *network, w *watcher) { w.asleep = n.now + 10*time.Second }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for seed := range 10 {
				n := newNetwork(uint64(seed))
				w := n.member(&worker{})
				n.run(20 * time.Second)
				if len(w.log) != 1 || w.log[0].Finding != pass || w.watch.Degraded() {
					t.Fatalf("seed %d: before the fault: got %+v, want a pass", seed, w.log)
				}
				w.dials = 0
				tc.fault(n, w)
				n.run(n.now + time.Minute)
				got := w.log[1:]
				if len(got) != len(tc.want) {
					t.Fatalf("seed %d: got %+v, want %+v", seed, got, tc.want)
				}
				for i, f := range got {
					if f.Finding != tc.want[i] || f.at > 20*time.Second+tc.within {
						t.Fatalf("seed %d: got %+v, want %+v by %v", seed, got, tc.want, 20*time.Second+tc.within)
					}
				}
				if w.watch.Degraded() != tc.degraded {
					t.Fatalf("seed %d: degraded: got %v, want %v", seed, w.watch.Degraded(), tc.degraded)
				}
				if got := float64(w.dials) / 60; got > tc.dials {
					t.Fatalf("seed %d: %.2f connections a second, want %v at most", seed, got, tc.dials)
				}
			}
		})
	}
}

// Two hundred workers vanish at once, and one watcher watches them all. It has few connections at a
// time, so that most of its questions wait in a line; it finds all of them, and none that lives
// where only packets are lost.
func TestAllVanishAtOnce(t *testing.T) {
	for _, s := range []state{silent, dead, frozen} {
		n := newNetwork(1)
		n.slots = 16
		shared := &dialer{}
		for range 200 {
			n.member(&worker{}).dialer = shared
		}
		n.run(30 * time.Second)
		for _, w := range n.watchers {
			n.become(w.worker, s)
		}
		begin, last, pings := n.now, time.Duration(0), 0
		for _, w := range n.watchers {
			w.pings = 0
		}
		n.run(n.now + 30*time.Second)
		for _, w := range n.watchers {
			pings += w.pings
			if w.finding() != dynmesh.Fail {
				t.Fatalf("state %d: %+v, want a failure", s, w.log)
			}
			last = max(last, w.log[1].at-begin)
		}
		t.Logf("state %d: the last was found after %v; %.0f pings a second", s, last, float64(pings)/30)
		if last > 7*time.Second {
			t.Errorf("state %d: the last was found after %v", s, last)
		}
	}
}

func TestPacketsBlockedForAllAtOnce(t *testing.T) {
	n := newNetwork(1)
	n.slots, n.delay = 16, 20*time.Millisecond
	shared := &dialer{}
	for range 200 {
		n.member(&worker{}).dialer = shared
	}
	n.run(30 * time.Second)
	n.udp = false
	n.run(n.now + time.Minute)
	for _, w := range n.watchers {
		if len(w.log) != 1 || !w.watch.Degraded() {
			t.Fatalf("got %+v, degraded %v, want nothing but that it is degraded", w.log, w.watch.Degraded())
		}
	}
}
