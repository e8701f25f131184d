package expect

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// fleet makes instances from words: "3 ready", of which a word after a plus sign says more.
func fleet(name string, groups ...string) Endpoint {
	e := Endpoint{Name: name}
	for _, g := range groups {
		var n int
		var word string
		if _, err := fmt.Sscan(g, &n, &word); err != nil {
			panic(err)
		}
		word, more, _ := strings.Cut(word, "+")
		for range n {
			e.Instances = append(e.Instances, Instance{
				ID: dynmesh.InstanceID(0xa0 + len(e.Instances)), Verdict: dynmesh.VerdictState(word), Verified: more == "verified", Registered: more != "unregistered",
			})
		}
	}
	return e
}

func TestEvaluate(t *testing.T) {
	const prefill = "dyn://dynamo.prefill.generate"
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name      string
		expect    string
		state     dynmesh.SyncState
		endpoints []Endpoint
		want      string
	}{
		{"nothing expected", "", dynmesh.Synced, nil,
			`{"discovery":"synced","expectations":[],"ready":true,"reasons":[]}`},
		{"before the registry was read", prefill + ">=0", dynmesh.Syncing, nil,
			`{"discovery":"syncing","expectations":[{"endpoint":"` + prefill + `","have":0,"ok":true,"registered":0,"want":0}],"ready":false,` +
				`"reasons":["the registry has not been read yet"]}`},
		{"holds", prefill + ">=2", dynmesh.Synced, []Endpoint{fleet(prefill, "3 ready")},
			`{"discovery":"synced","expectations":[{"endpoint":"` + prefill + `","have":3,"ok":true,"registered":3,"want":2}],"ready":true,"reasons":[]}`},
		{"holds by what was known last", prefill + ">=2", dynmesh.Stale, []Endpoint{fleet(prefill, "3 ready")},
			`{"discovery":"stale","expectations":[{"endpoint":"` + prefill + `","have":3,"ok":true,"registered":3,"want":2}],"ready":true,"reasons":[]}`},
		{"unreachable", prefill + ">=14", dynmesh.Synced, []Endpoint{fleet(prefill, "5 ready", "9 unreachable")},
			`{"discovery":"synced","expectations":[{"endpoint":"` + prefill + `","have":5,"ok":false,"registered":14,"want":14}],"ready":false,` +
				`"reasons":["` + prefill + `: 5 of 14 ready: 9 unreachable (a5, a6, a7, a8, a9, aa, ab, ac and 1 more)"]}`},
		{"5 of 14 came", prefill + ">=14", dynmesh.Synced, []Endpoint{fleet(prefill, "5 ready")},
			`{"discovery":"synced","expectations":[{"endpoint":"` + prefill + `","have":5,"ok":false,"registered":5,"want":14}],"ready":false,` +
				`"reasons":["` + prefill + `: 5 of 14 ready: 9 missing (ready: a0, a1, a2, a3, a4)"]}`},
		{"none came", prefill + ">=14", dynmesh.Synced, []Endpoint{fleet("dyn://dynamo.backend.generate", "20 ready")},
			`{"discovery":"synced","expectations":[{"endpoint":"` + prefill + `","have":0,"ok":false,"registered":0,"want":14}],"ready":false,` +
				`"reasons":["` + prefill + `: 0 of 14 ready: 14 missing"]}`},
		{"all kinds", prefill + ">=9", dynmesh.Stale, []Endpoint{fleet(prefill, "1 ready", "1 odd\x1b", "1 draining", "1 notready", "1 unreachable", "1 ready+unregistered")},
			`{"discovery":"stale","expectations":[{"endpoint":"` + prefill + `","have":1,"ok":false,"registered":5,"want":9}],"ready":false,` +
				`"reasons":["` + prefill + `: 1 of 9 ready: 1 unreachable (a4), 1 notready (a3), 1 draining (a2), 1 not registered (a5), 1 in a state not known here (a1), 3 missing (ready: a0)",` +
				`"the registry cannot be read since 2026-11-22T10:00:00Z: what is registered is what was known then"]}`},
		{"drains, and has deregistered", prefill + ">=3", dynmesh.Synced, []Endpoint{fleet(prefill, "2 ready", "1 draining+unregistered")},
			`{"discovery":"synced","expectations":[{"endpoint":"` + prefill + `","have":2,"ok":false,"registered":2,"want":3}],"ready":false,` +
				`"reasons":["` + prefill + `: 2 of 3 ready: 1 draining (a2)"]}`},
		{"verified", prefill + ">=3{verified}", dynmesh.Synced, []Endpoint{fleet(prefill, "1 ready+verified", "2 ready")},
			`{"discovery":"synced","expectations":[{"endpoint":"` + prefill + `","have":1,"ok":false,"registered":3,"verified":true,"want":3}],"ready":false,` +
				`"reasons":["` + prefill + `: 1 of 3 verified: 2 ready but not verified (a1, a2)"]}`},
		{"several endpoints", "dyn://dynamo.*.generate>=5", dynmesh.Synced, []Endpoint{
			fleet("dyn://dynamo.z.generate", "1 ready", "1 notready"), fleet("dyn://dynamo.a.generate", "1 notready"), fleet("dyn://dynamo.a.embed", "9 ready"),
			fleet("dyn://dynamo.a.b.generate", "9 ready"), fleet("dyn://dynamo.<\x1b]0;x\a>.generate", "1 notready"),
		},
			`{"discovery":"synced","expectations":[{"endpoint":"dyn://dynamo.*.generate","have":1,"ok":false,"registered":4,"want":5}],"ready":false,` +
				`"reasons":["dyn://dynamo.*.generate: 1 of 5 ready: 3 notready (dynamo.<?]0;x?>.generate/a0, dynamo.a.generate/a0, dynamo.z.generate/a1), 1 missing (ready: dynamo.z.generate/a0)"]}`},
		{"two, of which one holds", prefill + ">=1,dyn://dynamo.backend.generate>=2", dynmesh.Synced, []Endpoint{fleet(prefill, "1 ready")},
			`{"discovery":"synced","expectations":[{"endpoint":"` + prefill + `","have":1,"ok":true,"registered":1,"want":1},` +
				`{"endpoint":"dyn://dynamo.backend.generate","have":0,"ok":false,"registered":0,"want":2}],"ready":false,` +
				`"reasons":["dyn://dynamo.backend.generate: 0 of 2 ready: 2 missing"]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var expected []Expectation
			if tt.expect != "" {
				var err error
				if expected, err = Parse(tt.expect); err != nil {
					t.Fatal(err)
				}
			}
			view := View{Discovery: tt.state, Since: at, Endpoints: tt.endpoints}
			if got := string(Evaluate(expected, view).AppendJSON(nil)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	expected, err := Parse("dyn://*.*.*>=99,dyn://a.b.c>=50,dyn://a.b.c>=50{verified}")
	if err != nil {
		t.Fatal(err)
	}
	view := View{Discovery: dynmesh.Synced, Endpoints: []Endpoint{
		fleet("dyn://a.b.c", "20 ready", "20 unreachable", "9 x", "9 y"), fleet("dyn://a.b.d", "3 ready", "3 z"), fleet("dyn://a.b-c.d", "3 ready"),
	}}
	want := Evaluate(expected, view)
	for range 50 {
		rand.Shuffle(len(view.Endpoints), func(i, j int) { view.Endpoints[i], view.Endpoints[j] = view.Endpoints[j], view.Endpoints[i] })
		for _, e := range view.Endpoints {
			rand.Shuffle(len(e.Instances), func(i, j int) { e.Instances[i], e.Instances[j] = e.Instances[j], e.Instances[i] })
		}
		if got := Evaluate(expected, view); !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %v\nwant %v", got, want)
		}
	}
}

// However large the fleet and long its names, a reason stays a line.
func TestReasonsAreBounded(t *testing.T) {
	var endpoints []Endpoint
	for i := range 20 {
		endpoints = append(endpoints, fleet(fmt.Sprintf("dyn://%s%d.b.c", strings.Repeat("\x00é", 5000), i), "500 unreachable", "500 notready", "500 draining"))
	}
	r := Evaluate([]Expectation{{Endpoint: "dyn://*.*.*", Want: MaxCount}}, View{Discovery: dynmesh.Synced, Endpoints: endpoints})
	if len(r.Reasons) != 1 || len(r.Reasons[0]) > 3*8*(2*maxPlain+25)+200 || strings.ContainsAny(r.Reasons[0], "\x00\n") || !strings.Contains(r.Reasons[0], "and 9992 more") {
		t.Errorf("got %d bytes: %.300q", len(r.String()), r.Reasons)
	}
}

func TestResultString(t *testing.T) {
	if got := (Result{Ready: true}).String(); got != "ready" {
		t.Errorf("got %q", got)
	}
	if got := (Result{Reasons: []string{"a: 1 of 2", "b"}}).String(); got != "not ready: a: 1 of 2; b" {
		t.Errorf("got %q", got)
	}
	o := Outcome{Endpoint: "dyn://a.*.c", Want: 3, Verified: true}
	if got := o.Expectation().String(); got != "dyn://a.*.c>=3{verified}" {
		t.Errorf("got %q", got)
	}
}
