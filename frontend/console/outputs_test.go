package console

import (
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/mesh"
)

// Who has withdrawn an instance is a column of status, also of one that works; explain says what
// each output told, and what becomes of it without dynmesh.
func TestOutputs(t *testing.T) {
	now := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	since := mesh.Time{Time: now.Add(-4 * time.Second)}
	out := func(name, state string) mesh.Output {
		return mesh.Output{Name: name, Target: "dyn://a.b.c", State: state, Since: since, Reason: "it works again"}
	}
	dry := out("xds", "out")
	dry.DryRun = true
	held := out("haproxy", "in")
	held.Held, held.Next, held.Error = true, "out as soon as the floor allows it", "disk full"
	follows := false
	instance := func(id dynmesh.InstanceID, v dynmesh.VerdictState, told ...mesh.Output) mesh.Instance {
		return mesh.Instance{ID: id, Verdict: v, Verified: true, Registered: true, Reasons: []string{"because"}, Since: since, Outputs: told}
	}
	m := &client.Mesh{Mesh: mesh.Mesh{
		Head: mesh.Head{Outputs: []mesh.OutputHead{{Name: "haproxy", WhenGone: "all stands"}, {Name: "xds", WhenGone: "all come back", Frozen: "nobody is heard", Leads: &follows}}},
		Endpoints: []mesh.Endpoint{{EndpointHead: mesh.EndpointHead{Name: "dyn://a.b.c"}, Instances: []mesh.Instance{
			instance(1, dynmesh.Ready, out("haproxy", "in")), instance(2, dynmesh.Ready, out("haproxy", "out"), dry), instance(3, dynmesh.NotReady, held),
		}}},
	}}
	got := Status(Snapshot{Mesh: m}, now, Style{})
	_, table, _ := strings.Cut(got, "INSTANCE")
	var rows []string
	for line := range strings.Lines(table) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	want := "VERDICT FOR WITHDRAWN HOST REASON\ndyn://a.b.c 2 ready 4s haproxy (xds) - because\ndyn://a.b.c 3 notready 4s - - because"
	if have := strings.Join(rows, "\n"); have != want {
		t.Errorf("got\n%s\nwant\n%s", have, want)
	}

	for n, words := range [][]string{
		0: {"haproxy: for dyn://a.b.c has it in since", "without dynmesh: all stands", "xds: nobody was told of it", "nothing changes now: nobody is heard", "another frontend does what is decided"},
		1: {"haproxy: for dyn://a.b.c has it out since", ": it works again", "xds: for dyn://a.b.c would have it (this is a dry run) out"},
		2: {"because of the floor", "next: out as soon as the floor allows it; it cannot tell what is decided now: disk full"},
	} {
		e := m.Endpoints[0]
		got := Explain(m, Found{Endpoint: e.Name, Instance: e.Instances[n]}, now, Style{})
		for _, w := range words {
			if !strings.Contains(got, w) {
				t.Errorf("got\n%s\nwant in it %q", got, w)
			}
		}
	}
}
