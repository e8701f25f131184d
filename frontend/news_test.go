package frontend

import (
	"slices"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

func (r *rig) wantLines(want ...string) {
	r.t.Helper()
	if got := r.lines(); !slices.Equal(got, want) {
		r.t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// Each change of a verdict is a line that says all.
func TestChangesAreLogged(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, c := r.trio()
		r.rest(time.Second)
		r.wantLines(`level=info msg="Discovery is synced: the registry has been read" instances=3`)
		r.lost(a.ID, b.ID)
		r.lost(a.ID, c.ID)
		r.wantLines()
		r.rest(transitionWindow)
		r.wantLines(`level=warning msg="Instance is unreachable (was ready): 2 of 2 watchers cannot reach it: ` +
			`worker b on host-b since 2000-01-01T00:00:01.020Z (refused), worker c on host-c since 2000-01-01T00:00:01.030Z (refused)" endpoint="dyn://d.b.g" instance=a`)
		r.canary(b, false)
		r.canary(b, true)
		r.rest(transitionWindow)
		r.wantLines(
			`level=warning msg="Instance is notready (was ready): its worker's canaries have failed since 2000-01-01T00:00:01.290Z: timeout: no answer within 3s" endpoint="dyn://d.b.g" instance=b`,
			`level=info msg="Instance is ready (was notready): its worker's canaries have passed since 2000-01-01T00:00:01.300Z, the first in 3ms" endpoint="dyn://d.b.g" instance=b`)
	})
}

// What is not told yet when the registry ends is told then.
func TestLastChangesAreLogged(t *testing.T) {
	var r *rig
	meshed(t, false, func(rig *rig) {
		r = rig
		a, _, _ := r.trio()
		r.rest(time.Second)
		r.lines()
		r.canary(a, false)
	})
	if got := len(r.lines()); got != 1 {
		t.Errorf("got %d lines, want 1", got)
	}
}

// The loss of a rack is one line.
func TestMassChangesAreOneLine(t *testing.T) {
	meshed(t, false, func(r *rig) {
		var u dynmesh.RegistryUpdate
		var g, lost dynmesh.GossipUpdate
		for n := range 25 {
			k := key("d", []string{"b", "c"}[n%2], "g", uint64(n+1))
			u.Puts = append(u.Puts, httpInstance(k))
			g.Members = append(g.Members, workerAs(k.ID, 1, dynmesh.Alive))
			lost.Members = append(lost.Members, workerAs(k.ID, 1, dynmesh.Dead))
			if n > 22 {
				lost.Members[n].State = dynmesh.Alive
			}
		}
		u.State, u.Since = dynmesh.Synced, time.Unix(1000, 0)
		r.send(u)
		r.say(g)
		r.rest(time.Second)
		r.lines()
		for n := range lost.Members {
			lost.Members[n].Since = time.Now()
		}
		last := r.next(dynmesh.Observation{
			Observer: dynmesh.Observer{ID: 25, Epoch: 1},
			Report:   dynmesh.Report{Subject: dynmesh.Subject{ID: 25}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true},
		})
		lost.Observations = []dynmesh.Observation{last}
		r.say(lost)
		r.rest(transitionWindow)
		r.wantLines(
			`level=warning msg="23 instances are unreachable (was ready), the first because: gossip declared its worker dead at 2000-01-01T00:00:01.020Z, and no watcher reaches it" `+
				`endpoint="dyn://d.b.g dyn://d.c.g" instance="1 3 5 7 9 b d f 11 13 15 17 2 4 6 8 a c e 10 and 3 more"`,
			`level=info msg="Instance is draining (was ready): its worker said at 2000-01-01T00:00:01.020Z that it shuts down: it takes no new requests, finishes those it has, and leaves" `+
				`endpoint="dyn://d.b.g" instance=19`,
		)
	})
}
