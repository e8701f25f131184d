package frontend

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// ready checks what /ready says, which must be what whoever reads /mesh would conclude.
func (r *rig) ready(want bool, words string) {
	r.t.Helper()
	r.agree()
	v := r.now().Mesh
	if reasons := strings.Join(v.Ready.Reasons, "\n"); v.Ready.Ready != want || !strings.Contains(reasons, words) || want != (reasons == "") {
		r.t.Errorf("got ready %v, %q, want %v, %q", v.Ready.Ready, reasons, want, words)
	}
}

// agree checks that everything which tells of the mesh says the same: /mesh, /ready, metrics and
// gRPC health.
func (r *rig) agree() {
	r.t.Helper()
	v := r.now().Mesh
	var m client.Mesh
	if err := json.Unmarshal([]byte(string(v.Identity.Bytes())), &m); err != nil {
		r.t.Fatal(err)
	}
	if body := string(expect.Evaluate(r.f.cfg.Expect, m.View()).AppendJSON(nil)); string(v.Ready.JSON) != body {
		r.t.Errorf("/ready: got %s, want what /mesh leads to: %s", v.Ready.JSON, body)
	}
	want := map[string]int{"ready[]": one(v.Ready.Ready), "warnings[]": len(m.Warnings), "ghost_instances[]": 0}
	for _, e := range m.Endpoints {
		for _, i := range e.Instances {
			want[fmt.Sprintf("instance_verdict[%s %s %s]", e.Name, i.ID, i.Verdict)] = 1
			if i.Registered {
				want[fmt.Sprintf("endpoint_verdict_instances[%s %s]", e.Name, i.Verdict)]++
				want["ghost_instances[]"] += one(i.Verdict == "unreachable")
			}
		}
		want[fmt.Sprintf("endpoint_unregistered_instances[%s]", e.Name)] = e.Unregistered
		want[fmt.Sprintf("endpoint_verified_instances[%s]", e.Name)] = e.Verified
		serving, _ := v.Serving(e.Name)
		if v.Discovery != dynmesh.Syncing && serving != (e.Ready > 0) {
			r.t.Errorf("gRPC health of %s: got serving %v with %d ready", e.Name, serving, e.Ready)
		}
	}
	all := r.scraped()
	for series, n := range want {
		if line := fmt.Sprint(series, n); !slices.Contains(all, line) {
			r.t.Errorf("/metrics: no %s, as /mesh has it, in\n%s", line, strings.Join(all, "\n"))
		}
	}
}

// scraped returns what /metrics tells of this frontend, without the names' beginning.
func (r *rig) scraped() (lines []string) {
	r.t.Helper()
	families, err := r.f.server.Metrics().Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, family := range families {
		name, ours := strings.CutPrefix(family.GetName(), "dynmesh_frontend_")
		if !ours || family.GetType() != dto.MetricType_GAUGE {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, label := range m.GetLabel() {
				labels = append(labels, label.GetValue())
			}
			lines = append(lines, fmt.Sprintf("%s%v%v", name, labels, m.GetGauge().GetValue()))
		}
	}
	return lines
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestReadyFollowsTheMesh(t *testing.T) {
	expecting(t, "dyn://d.b.g>=3, dyn://*.b.*>=2{verified}, dyn://d.other.g>=0", false, func(r *rig) {
		r.ready(false, "the registry has not been read yet")
		a, b, c := r.trio()
		r.ready(true, "")
		before := r.now().Mesh
		r.send(testkit.Synced(testkit.HTTPInstance(testkit.Key("x", "y", "z", 1))))
		r.ready(true, "")
		if now := r.now().Mesh; now == before || now.Ready != before.Ready {
			t.Errorf("got another result, want the same one as long as only others change")
		}
		r.lost(a.ID, b.ID)
		r.lost(a.ID, c.ID)
		r.ready(false, "dyn://d.b.g: 2 of 3 ready: 1 unreachable (a)")
		r.canary(b, false)
		r.ready(false, "dyn://*.b.*: 1 of 2 verified: 1 unreachable (d.b.g/a), 1 notready (d.b.g/b)")
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Stale, Since: time.Now()})
		r.ready(false, "the registry cannot be read since 2000-01-01T00:00:00Z: what is registered is what was known then")
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Now(), Deletes: []dynmesh.InstanceKey{a, b, c}})
		r.ready(false, "dyn://d.b.g: 0 of 3 ready")
	})
}

// While etcd is away, what was known last counts.
func TestReadyWhileStale(t *testing.T) {
	expecting(t, "dyn://d.b.g>=3", false, func(r *rig) {
		r.trio()
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Stale, Since: time.Now()})
		r.ready(true, "")
		if got := r.now().Mesh.Ready.Discovery; got != "stale" {
			t.Errorf("got discovery %q, want stale", got)
		}
	})
}

// What is expected is shown, also where nobody registers it.
func TestExpectedEndpoints(t *testing.T) {
	expecting(t, "dyn://d.b.g>=2,dyn://d.b.g>=3{verified},dyn://d.b.g>=1,dyn://d.p.g>=14,dyn://*.p.g>=20", true, func(r *rig) {
		expected := func(want string) {
			t.Helper()
			var got []string
			for _, e := range r.seen().Endpoints {
				line, _ := json.Marshal([]any{e.Endpoint, e.Registered, e.Expected, e.Instances})
				got = append(got, string(line))
			}
			if all := strings.Join(got, " "); all != want {
				t.Errorf("got %s, want %s", all, want)
			}
		}
		const none = `["dyn://d.b.g",0,3,[]] ["dyn://d.p.g",0,14,[]]`
		expected(none)
		k, other := testkit.Key("d", "b", "g", 1), testkit.Key("d", "q", "g", 1)
		r.send(testkit.Synced(testkit.HTTPInstance(k), testkit.HTTPInstance(other)))
		if e := r.seen().Endpoints; len(e) != 3 || *e[0].Expected != 3 || e[0].Registered != 1 || e[2].Expected != nil {
			t.Errorf("got %+v", e)
		}
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Deletes: []dynmesh.InstanceKey{k, other}})
		expected(none)
		v := r.now().Mesh
		id := dynmesh.InstanceID(1)
		if b := v.Narrow("dyn://d.p.g", nil); b == nil || !strings.Contains(string(b.Bytes()), `"expected":14,"instances":[]`) {
			t.Errorf("got %v, want the endpoint", b)
		}
		if b := v.Narrow("dyn://d.p.g", &id); b != nil {
			t.Errorf("got %s, want none", string(b.Bytes()))
		}
	})
}

func TestReadyRoute(t *testing.T) {
	t.Parallel()
	source := make(updates)
	f := start(t, Config{Expect: []expect.Expectation{{Endpoint: "dyn://d.b.g", Want: 1}}}, source)
	got := f.get("/ready")
	const syncing = `{"discovery":"syncing","expectations":[{"endpoint":"dyn://d.b.g","have":0,"ok":false,"registered":0,"want":1}],"ready":false,"reasons":["the registry has not been read yet"]}`
	if got.code != http.StatusServiceUnavailable || got.body != syncing || got.header.Get("X-Dynmesh-Discovery") != "syncing" {
		t.Errorf("got %d %v %s, want 503 %s", got.code, got.header, got.body, syncing)
	}
	source <- testkit.Synced(testkit.HTTPInstance(testkit.Key("d", "b", "g", 1)))
	eventually(t, "200", func() bool { return f.get("/ready").code == http.StatusOK })
	got = f.get("/ready")
	const synced = `{"discovery":"synced","expectations":[{"endpoint":"dyn://d.b.g","have":1,"ok":true,"registered":1,"want":1}],"ready":true,"reasons":[]}`
	if got.body != synced || got.header.Get("Cache-Control") != "no-cache" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("got %v %s, want %s", got.header, got.body, synced)
	}
}

func TestReadyWithoutExpectations(t *testing.T) {
	t.Parallel()
	source := make(updates)
	f := start(t, Config{}, source)
	if got := f.get("/ready"); got.code != http.StatusServiceUnavailable {
		t.Errorf("got %d, want 503 before the registry was read", got.code)
	}
	source <- testkit.Synced()
	eventually(t, "200", func() bool { return f.get("/ready").code == http.StatusOK })
	if got := f.get("/ready").body; got != `{"discovery":"synced","expectations":[],"ready":true,"reasons":[]}` {
		t.Errorf("got %s", got)
	}
}

func TestExpectIsChecked(t *testing.T) {
	_, err := New(Config{Expect: []expect.Expectation{{Endpoint: "dyn://a.b", Want: 1}}})
	if err == nil || !strings.Contains(err.Error(), "Expect") {
		t.Errorf("got %v, want the field", err)
	}
}
