package console

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/mesh"
)

// What failures have in common stands first, in the head and above its instances, of which many are
// counted; then the others. explain says it of an instance.
func TestCauses(t *testing.T) {
	now := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	since := mesh.Time{Time: now.Add(-2 * time.Minute)}
	m := &client.Mesh{Mesh: mesh.Mesh{
		Head: mesh.Head{Causes: []mesh.Cause{
			{Name: "rack=r3", Line: "rack r3: 14 of 14 fail (12 unreachable, 2 lost)\x1b", Since: since, Workers: 14, Failing: 14, Down: 12, Ended: 2, IDs: []dynmesh.InstanceID{0xe1, 0xe2}},
			{Name: "host=h9", Line: "host h9: 20 of 20 lost", Since: since, Workers: 20, Failing: 20, Ended: 20, IDs: []dynmesh.InstanceID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
		}},
		Endpoints: []mesh.Endpoint{{EndpointHead: mesh.EndpointHead{Name: "dyn://a.b.c"}}},
	}}
	add := func(id int, cause string) {
		m.Endpoints[0].Instances = append(m.Endpoints[0].Instances, mesh.Instance{
			ID: dynmesh.InstanceID(id), Verdict: dynmesh.Unreachable, Registered: true, Reasons: []string{"gone"}, Since: since, Cause: cause,
		})
	}
	add(0x99, "")
	for n := range 12 {
		add(n+0x10, "rack=r3")
	}
	got := Status(Snapshot{Mesh: m}, now, Style{})
	var lines []string
	for line := range strings.Lines(got) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	want := []string{"rack r3: 14 of 14 fail (12 unreachable, 2 lost)? for 2m00s", "ENDPOINT INSTANCE VERDICT FOR HOST REASON"}
	for n := range 10 {
		want = append(want, fmt.Sprintf("dyn://a.b.c %x unreachable 2m00s - gone", n+0x10))
	}
	want = append(want, "and 2 more", "lost, and listed no longer: e1 e2", "",
		"host h9: 20 of 20 lost for 2m00s", "lost, and listed no longer: 1 2 3 4 5 6 7 8 and 12 more", "",
		"ENDPOINT INSTANCE VERDICT FOR HOST REASON", "dyn://a.b.c 99 unreachable 2m00s - gone")
	if all := strings.Join(lines, "\n"); !strings.Contains(all, "\n"+strings.Join(want, "\n")) || !strings.Contains(all, "\ncause rack r3: 14 of 14 fail") {
		t.Errorf("got\n%s\nwant in it\n%s", got, strings.Join(want, "\n"))
	}
	if wide := Status(Snapshot{Mesh: m}, now, Style{Wide: true}); strings.Contains(wide, "and 2 more") || !strings.Contains(wide, "1b  ") {
		t.Errorf("wide leaves some out:\n%s", wide)
	}
	const says = "it fails together with others: rack r3: 14 of 14"
	for n, want := range []bool{false, true} {
		got := Explain(m, Found{Endpoint: "dyn://a.b.c", Instance: m.Endpoints[0].Instances[n]}, now, Style{})
		if strings.Contains(got, says) != want {
			t.Errorf("instance %d: got\n%s\nwant %q in it: %v", n, got, says, want)
		}
	}
}
