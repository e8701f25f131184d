package watch

import (
	"flag"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// watchers is how many members watch a worker.
const watchers = 2

// 30 % of all packets are lost in each direction, and each takes 100 ms. Nobody is unwell, and
// never must two watchers agree that somebody were.
func TestLossyNetwork(t *testing.T) {
	var single, double, changes, pings, dials int
	n := *seeds
	for seed := range n {
		net := newNetwork(uint64(seed))
		net.loss, net.delay = 0.3, 100*time.Millisecond
		for range 10 {
			w := &worker{}
			var both [watchers]*watcher
			failing := 0
			for i := range both {
				both[i] = net.member(w)
				was := dynmesh.Finding("")
				both[i].onChange = func(x *watcher) {
					changes++
					if x.finding() == dynmesh.Fail && was != dynmesh.Fail {
						single++
						failing++
						if failing == watchers {
							double++
							t.Logf("seed %d: both at %v: %+v, %+v", seed, net.now, both[0].watch.Finding(), both[1].watch.Finding())
						}
					}
					if was == dynmesh.Fail && x.finding() != dynmesh.Fail {
						failing--
					}
					was = x.finding()
				}
			}
		}
		net.run(5 * time.Minute)
		for _, w := range net.watchers {
			pings += w.pings
			dials += w.dials
		}
	}
	perSecond := float64(n * 300 * 10 * watchers)
	t.Logf("%d seeds of 5 min, 10 workers, 20 watches: false findings of one watcher %d (%.3f a run), of both at once %d; "+
		"%.1f changes a run, %.1f pings and %.2f dials a second for each watch",
		n, single, float64(single)/float64(n), double, float64(changes)/float64(n), float64(pings)/perSecond, float64(dials)/perSecond)
	if double > 0 {
		t.Errorf("%d times both watchers said that a worker that was well had failed", double)
	}
}

var seeds = flag.Int("seeds", 5, "runs of TestLossyNetwork")
