package grey

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/mesh"
)

func TestSelection(t *testing.T) {
	with := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if name == variable+pairs[i] {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	s, err := selected(with())
	if err != nil {
		t.Fatal(err)
	}
	if got := len(s.cells()); got != 30 {
		t.Errorf("by default there are %d cells, want 15 faults idle and under load", got)
	}
	if s, err = selected(with("ROUTERS", "nginx,dynmesh", "FAULTS", "rank", "WHEN", "load")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range s.cells() {
		got = append(got, c.String())
	}
	if want := "nginx/rank/load dynmesh/rank/load"; strings.Join(got, " ") != want {
		t.Errorf("cells %v, want %s", got, want)
	}
	if s, err = selected(with("ROUTERS", "nginx,dynmesh")); err != nil {
		t.Fatal(err)
	}
	if got := len(s.cells()); got != 62 {
		t.Errorf("with a router there are %d cells, want 15 faults of both, and nothing behind the router, idle and under load", got)
	}
	for name, wrong := range map[string]string{"ROUTERS": "apache", "FAULTS": "X", "WHEN": "now", "REPLICAS": "2", "RATE": "fast", "AT_ONCE": "0"} {
		if _, err := selected(with(name, wrong)); err == nil || !strings.HasPrefix(err.Error(), variable+name+": ") || !strings.Contains(err.Error(), "want") {
			t.Errorf("%s=%s: %v, want it refused by name, with what is accepted", name, wrong, err)
		}
	}
}

func TestScore(t *testing.T) {
	frozen, slow, none := faults()[0], faults()[9], faults()[15]
	own, nginx := routers()[0], routers()[1]
	for _, tt := range []struct {
		name string
		o    outcome
		said string
	}{
		{"in time", outcome{spec: spec{router: own, fault: frozen}, found: true, right: true, after: 4 * time.Second}, "4.0 s"},
		{"late", outcome{spec: spec{router: own, fault: frozen}, found: true, right: true, after: 16 * time.Second}, "**16.0 s**"},
		{"what shows under load, late", outcome{spec: spec{router: own, fault: slow}, found: true, right: true, after: 61 * time.Second}, "**61.0 s**"},
		{"while idle, that has no goal", outcome{spec: spec{router: own, fault: slow, idle: true}}, "not found"},
		{"for another reason", outcome{spec: spec{router: own, fault: frozen}, found: true, after: time.Second}, "**1.0 s, wrong reason**"},
		{"and another replica, too", outcome{spec: spec{router: own, fault: frozen}, found: true, right: true, after: time.Second, alarms: []string{"x"}}, "**1.0 s, 1 false**"},
		{"not at all", outcome{spec: spec{router: own, fault: frozen}}, "**not found**"},
		{"a router has no goal", outcome{spec: spec{router: nginx, fault: frozen}}, "not found"},
		{"what it does while idle has no time", outcome{spec: spec{router: nginx, fault: frozen, idle: true}, found: true, right: true, after: idleTime}, "found"},
		{"while idle, without a goal", outcome{spec: spec{router: own, fault: slow, idle: true}, found: true, right: true, after: 2 * time.Minute}, "120.0 s"},
		{"and another replica, all the same", outcome{spec: spec{router: own, fault: slow, idle: true}, alarms: []string{"x"}}, "**not found, 1 false**"},
		{"a router leaves alone what is well", outcome{spec: spec{router: nginx, fault: none}, found: true, right: true, after: time.Second}, "**1.0 s**"},
		{"and what is well is asked", outcome{spec: spec{router: nginx, fault: none}}, "not found"},
		{"not measured", outcome{spec: spec{router: own, fault: frozen}, err: "left out"}, "left out"},
	} {
		if got := tt.o.String(); got != tt.said {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.said)
		}
		if missed := len(table{tt.o}.missed()) > 0; missed != strings.HasPrefix(tt.said, "**") {
			t.Errorf("%s: missed %v", tt.name, missed)
		}
	}
}

func TestLeftAlone(t *testing.T) {
	const s = time.Second
	every := func(d, from, until time.Duration) (all []stay) {
		for at := from; at < until; at += d {
			all = append(all, stay{from: at, to: at + s/10})
		}
		return all
	}
	held := func(d, from, until time.Duration) (all []stay) { // one after the other, as clients give them up
		for at := from; at < until; at += d {
			all = append(all, stay{from: at, to: min(at+d, 98*s), held: at+d > 98*s})
		}
		return all
	}
	for _, tt := range []struct {
		name  string
		stays []stay
		after time.Duration
		alone bool
	}{
		{"from the first on", nil, 0, true},
		{"after one request", every(s, s, 2*s), s, true},
		{"after some", every(s, 0, 6*s), 5 * s, true},
		{"and tried each 10 s", slices.Concat(every(s, 0, 6*s), every(10*s, 15*s, 98*s)), 5 * s, true},
		{"and tried each 10 s, for 5 s", slices.Concat(every(s, 0, 6*s), []stay{{from: 20 * s, to: 25 * s}, {from: 35 * s, to: 40 * s}}), 5 * s, true},
		{"what it has is given up", []stay{{from: 0, to: 30 * s}, {from: s, to: 31 * s}, {from: 4 * s, to: 34 * s}}, 4 * s, true},
		{"until the end", every(s, 0, 98*s), 97 * s, false},
		{"less often, and on", every(3*s, 0, 98*s), 96 * s, false},
		{"it came back", slices.Concat(every(s, 0, 6*s), every(s, 70*s, 98*s)), 97 * s, false},
		{"it holds one, and the next comes when that is given up", held(30*s, 0, 98*s), 90 * s, false},
		{"it holds one for ever", []stay{{from: s, to: 98 * s, held: true}}, s, false},
		{"it is tried at the end", slices.Concat(every(s, 0, 6*s), []stay{{from: 90 * s, to: 98 * s, held: true}}), 5 * s, true},
		{"in whichever order", []stay{{from: 15 * s, to: 15 * s}, {from: s, to: s}, {from: 2 * s, to: 2 * s}, {from: 25 * s, to: 25 * s}}, 2 * s, true},
	} {
		if after, alone := leftAlone(tt.stays, 98*s); after != tt.after || alone != tt.alone {
			t.Errorf("%s: %v, %v, want %v, %v", tt.name, after, alone, tt.after, tt.alone)
		}
	}
	for _, tt := range []struct {
		name  string
		stays []stay
		want  time.Duration
	}{{"none", nil, 20 * s}, {"at the beginning", every(s, 0, 5*s), 16 * s}, {"at the end", every(s, 15*s, 20*s), 15 * s}, {"throughout", every(2*s, s, 20*s), 2 * s}} {
		if got := longestPause(tt.stays, 20*s); got != tt.want {
			t.Errorf("%s: a pause of %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestAlarm(t *testing.T) {
	const well, remarked = `{"verdict":"ready","reasons":["it answers"]}`, `{"verdict":"ready","reasons":["it answers","slow: 2.0 ×"],"remarks":[{"kind":"slow","text":"slow: 2.0 ×"}]}`
	for _, tt := range []struct {
		name string
		tr   mesh.Transition
		says string
	}{
		{"its verdict changes", mesh.Transition{From: dynmesh.Ready, To: dynmesh.NotReady, Instance: []byte(`{"reasons":["timeout"]}`)}, "timeout"},
		{"it is well again", mesh.Transition{From: dynmesh.NotReady, To: dynmesh.Ready, Instance: []byte(well)}, ""},
		{"it is remarked on", mesh.Transition{From: dynmesh.Ready, To: dynmesh.Ready, Instance: []byte(remarked)}, "slow"},
		{"and no longer", mesh.Transition{From: dynmesh.Ready, To: dynmesh.Ready, Instance: []byte(well)}, ""},
		{"it is gone", mesh.Transition{From: dynmesh.Ready, Instance: []byte("null")}, "from"},
		{"it cannot be read", mesh.Transition{From: dynmesh.Ready, To: dynmesh.Ready}, "JSON"},
		{"a cause", mesh.Transition{To: mesh.Named, Cause: []byte(`{"name":"host"}`)}, "host"},
		{"and its end", mesh.Transition{From: mesh.Named, Cause: []byte(`{"name":"host"}`)}, ""},
	} {
		if said := alarm(tt.tr); (said != "") != (tt.says != "") || !strings.Contains(said, tt.says) {
			t.Errorf("%s: it says %q, want %q", tt.name, said, tt.says)
		}
	}
}
