package console

import (
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/mesh"
)

// Models are told by role; endpoints that serve none are told with their workers.
func TestStatusGroupsByModel(t *testing.T) {
	instance := func(id dynmesh.InstanceID, verdict dynmesh.VerdictState, models ...mesh.Model) mesh.Instance {
		return mesh.Instance{ID: id, Verdict: verdict, Registered: true, Models: models, Auxiliary: len(models) == 0, Reasons: []string{"it died"}}
	}
	decode, prefill := mesh.Model{Name: "tiny", WorkerType: "decode"}, mesh.Model{Name: "tiny", WorkerType: "prefill"}
	m := &client.Mesh{Mesh: mesh.Mesh{Endpoints: []mesh.Endpoint{
		{EndpointHead: mesh.EndpointHead{Name: "dyn://a.backend.generate", Registered: 2, Ready: 1}, Instances: []mesh.Instance{
			instance(1, dynmesh.Ready, decode), instance(2, dynmesh.Unreachable, decode),
		}},
		{EndpointHead: mesh.EndpointHead{Name: "dyn://a.backend.worker_kv_query_source_1", Registered: 1}, Instances: []mesh.Instance{instance(2, dynmesh.Unreachable)}},
		{EndpointHead: mesh.EndpointHead{Name: "dyn://a.other.embed", Registered: 1}, Instances: []mesh.Instance{instance(2, dynmesh.Unreachable, mesh.Model{Name: "small"})}},
		{EndpointHead: mesh.EndpointHead{Name: "dyn://a.prefill.generate", Registered: 1, Ready: 1}, Instances: []mesh.Instance{instance(3, dynmesh.Ready, prefill)}},
	}}}
	expected := &expect.Result{Ready: true, Expectations: []expect.Outcome{{Endpoint: "model:tiny/decode", Have: 1, OK: true, Registered: 2, Want: 1}}}
	got := Status(Snapshot{Mesh: m, Ready: expected}, time.Now(), Style{})
	_, row, _ := strings.Cut(got, "\nmodel:")
	row, _, _ = strings.Cut(row, "\n")
	if have := strings.Join(strings.Fields(row), " "); have != "tiny/decode 1 2 1" {
		t.Errorf("got %q in\n%s\nwant that 1 of 2 is ready, and 1 expected", have, got)
	}
	for _, want := range []string{
		"MODEL  ROLE     READY  REGISTERED\nsmall  -            0           1\ntiny   decode       1           2\ntiny   prefill      1           1\n",
		"dyn://a.prefill.generate",
		"dyn://a.backend.generate and 1 more  2         unreachable",
		"not shown: 1 endpoints without a model",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant in it\n%s", got, want)
		}
	}
	if strings.Contains(got, "worker_kv_query_source") || strings.Count(got, "it died") != 1 {
		t.Errorf("got\n%s\nwant one death told once", got)
	}

	// Whoever asks for the worker hears of what is not shown.
	target, err := ParseTarget("2")
	if err != nil {
		t.Fatal(err)
	}
	found, err := target.In(m)
	if err != nil || len(found) != 2 {
		t.Fatalf("got %d, %v, want the two endpoints with a model", len(found), err)
	}
	if got := Explain(m, found[0], time.Now(), Style{}); !strings.Contains(got, "\nserves    tiny (decode)\nalso      dyn://a.backend.worker_kv_query_source_1, unreachable\n") {
		t.Errorf("got\n%s", got)
	}
}
