package frontend

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/fleet"
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
	t := fleet.Transition{Key: key("d", component, "g", id), From: from, To: to}
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
