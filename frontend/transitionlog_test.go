package frontend

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// logged returns the lines that these transitions are worth.
func logged(t *testing.T, transitions ...fleet.Transition) []string {
	t.Helper()
	var b lockedBuffer
	log := logrus.New()
	log.SetOutput(&b)
	log.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true})
	l := &transitionLog{log: logrus.NewEntry(log)}
	now := time.Unix(1000, 0)
	l.add(transitions, now)
	l.add(nil, now.Add(time.Hour))
	if at, any := l.due(); any && !at.Equal(now.Add(transitionWindow)) {
		t.Errorf("got due at %v, want a window after the first", at)
	}
	l.flush()
	if _, any := l.due(); any || len(l.lines) > 0 {
		t.Errorf("got %+v left", l)
	}
	return strings.FieldsFunc(b.take(), func(c rune) bool { return c == '\n' })
}

func transition(component string, id uint64, from, to dynmesh.VerdictState) fleet.Transition {
	t := fleet.Transition{Key: testkit.Key("d", component, "g", id), From: from, To: to}
	if to != "" {
		t.Reasons = []string{"because", "besides"}
	}
	return t
}

func wantLogged(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// Each change of a verdict is a line that says all. What appears and is well, or is gone, is no
// news.
func TestTransitionsAreLines(t *testing.T) {
	wantLogged(t, logged(t))
	wantLogged(t, logged(t,
		transition("b", 1, "", dynmesh.Ready), transition("b", 2, dynmesh.Ready, ""),
		transition("b", 0xa, dynmesh.Ready, dynmesh.Unreachable), transition("b", 0xb, dynmesh.Unreachable, dynmesh.Ready), transition("b", 0xc, "", dynmesh.NotReady)),
		`level=warning msg="Instance is unreachable (was ready): because" endpoint="dyn://d.b.g" instance=a`,
		`level=info msg="Instance is ready (was unreachable): because" endpoint="dyn://d.b.g" instance=b`,
		`level=warning msg="Instance is notready: because" endpoint="dyn://d.b.g" instance=c`)
}

// A worker that dies does so once, whatever it serves; what goes up and down within a moment does
// so as often as it does.
func TestDeathOfAWorkerIsOneLine(t *testing.T) {
	aside := transition("a", 1, dynmesh.Ready, dynmesh.Unreachable)
	aside.Auxiliary = true
	wantLogged(t, logged(t, aside, transition("b", 1, dynmesh.Ready, dynmesh.Unreachable), transition("c", 1, dynmesh.Ready, dynmesh.Unreachable)),
		`level=warning msg="Instance is unreachable (was ready): because" endpoint="dyn://d.b.g" endpoints=3 instance=1`)
	down, up := transition("b", 2, dynmesh.Ready, dynmesh.NotReady), transition("b", 2, dynmesh.NotReady, dynmesh.Ready)
	const isDown = `level=warning msg="Instance is notready (was ready): because" endpoint="dyn://d.b.g" instance=2`
	wantLogged(t, logged(t, down, up, down), isDown, `level=info msg="Instance is ready (was notready): because" endpoint="dyn://d.b.g" instance=2`, isDown)
}

// Many transitions are a line for each way that they went.
func TestManyTransitionsAreOneLine(t *testing.T) {
	var all []fleet.Transition
	for n := range uint64(23) {
		all = append(all, transition([]string{"b", "c"}[n%2], n+1, dynmesh.Ready, dynmesh.Unreachable))
	}
	all = append(all, transition("c", 0x19, dynmesh.Ready, dynmesh.Draining))
	wantLogged(t, logged(t, all...),
		`level=warning msg="23 instances are unreachable (was ready), the first because: because" endpoint="dyn://d.b.g dyn://d.c.g" instance="1 3 5 7 9 b d f 11 13 15 17 2 4 6 8 a c e 10 and 3 more"`,
		`level=info msg="Instance is draining (was ready): because" endpoint="dyn://d.c.g" instance=19`)
}

// A remark that begins and one that ends are a line each; what is remarked on many is one line.
func TestRemarksAreLines(t *testing.T) {
	remark := func(id uint64, m dynmesh.Measure, text string) fleet.Transition {
		r := transition("b", id, dynmesh.Ready, dynmesh.Ready)
		r.Remark = &fleet.Remark{Measure: m, Text: text}
		return r
	}
	const slow = `level=warning msg="Instance is ready, with a remark: slow: 2 ×" endpoint="dyn://d.b.g" instance=1`
	wantLogged(t, logged(t, remark(1, dynmesh.MeasurePace, "slow: 2 ×"), remark(1, dynmesh.MeasurePace, ""), remark(2, dynmesh.MeasureAnswers, "")),
		slow,
		`level=info msg="Instance is remarked on no longer: slow" endpoint="dyn://d.b.g" instance=1`,
		`level=info msg="Instance is remarked on no longer: answers" endpoint="dyn://d.b.g" instance=2`)
	all := []fleet.Transition{remark(1, dynmesh.MeasurePace, "slow: 2 ×")}
	for n := range uint64(11) {
		all = append(all, remark(2+n, dynmesh.MeasureFailures, "fails: 3 of 6"), remark(20+n, dynmesh.MeasureFailures, ""))
	}
	wantLogged(t, logged(t, all...), slow,
		`level=warning msg="11 instances are ready, with a remark, the first: fails: 3 of 6" endpoint="dyn://d.b.g" instance="2 3 4 5 6 7 8 9 a b c"`,
		`level=info msg="11 instances are remarked on no longer: failures" endpoint="dyn://d.b.g" instance="14 15 16 17 18 19 1a 1b 1c 1d 1e"`)
}

func (r *rig) wantLines(want ...string) {
	r.t.Helper()
	if got := r.lines(); !slices.Equal(got, want) {
		r.t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// Each change of a verdict is a line that says all.
func TestTransitionsAreLogged(t *testing.T) {
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
func TestLastTransitionsAreLogged(t *testing.T) {
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
func TestLossOfARackIsOneLine(t *testing.T) {
	meshed(t, false, func(r *rig) {
		var u dynmesh.RegistryUpdate
		var g, lost dynmesh.GossipUpdate
		for n := range 25 {
			k := testkit.Key("d", []string{"b", "c"}[n%2], "g", uint64(n+1))
			u.Puts = append(u.Puts, testkit.HTTPInstance(k))
			g.Members = append(g.Members, testkit.Worker(k.ID, dynmesh.Alive))
			g.Observations = append(g.Observations, testkit.Canary(k, 1, true))
			lost.Members = append(lost.Members, testkit.Worker(k.ID, dynmesh.Dead))
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
