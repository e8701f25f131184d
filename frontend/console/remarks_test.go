package console

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Of those that work, whoever something is remarked on stands in the table, with that alone: why it
// is ready is no news. It is ready all the same.
func TestRemarksStandInTheTable(t *testing.T) {
	const slow = "slow: 2.1 × its peers at equal load since 2026-11-22T09:59:00.000Z: 42ms a token, expected 20ms"
	remarks := []mesh.Remark{{Kind: "slow", Text: slow}}
	well := mesh.Instance{ID: 1, Verdict: dynmesh.Ready, Registered: true, Reasons: []string{"canaries have passed"}}
	odd := mesh.Instance{ID: 2, Verdict: dynmesh.Ready, Registered: true, Reasons: []string{"canaries have passed", slow}, Remarks: remarks, Worker: &mesh.Worker{Host: "h7"}}
	both := mesh.Instance{ID: 3, Verdict: dynmesh.NotReady, Registered: true, Reasons: []string{"canaries have failed", slow}, Remarks: remarks}
	m := &client.Mesh{}
	m.Discovery.State = dynmesh.Synced
	m.Endpoints = []mesh.Endpoint{{EndpointHead: mesh.EndpointHead{Name: "dyn://a.b.c"}, Instances: []mesh.Instance{well, odd}}}
	s := Snapshot{Mesh: m}
	got := Status(s, now, Style{})
	if !strings.Contains(got, "dyn://a.b.c  2         ready    unknown  h7    slow: 2.1 × its peers") || strings.Contains(got, "canaries") || !s.AllReady() {
		t.Errorf("got all ready %v,\n%s", s.AllReady(), got)
	}
	m.Endpoints[0].Instances = append(m.Endpoints[0].Instances, both)
	if got := Status(s, now, Style{}); !strings.Contains(got, "-     canaries have failed\n") || strings.Count(got, "slow: ") != 2 {
		t.Errorf("of one that fails, too:\n%s", got)
	}
}

// A worker of which the same is to be said at two endpoints is one line; a remark on it at one of
// them is a line of its own, and is not told of the other.
func TestRemarksAreNotFolded(t *testing.T) {
	instance := func(texts ...string) []mesh.Instance {
		i := mesh.Instance{ID: 7, Verdict: dynmesh.NotReady, Registered: true, Reasons: append([]string{"canaries have failed"}, texts...)}
		for _, text := range texts {
			i.Remarks = append(i.Remarks, mesh.Remark{Kind: "slow", Text: text})
		}
		return []mesh.Instance{i}
	}
	m := &client.Mesh{}
	m.Discovery.State = dynmesh.Synced
	for name, instances := range map[string][]mesh.Instance{"a": instance(), "b": instance(), "c": instance("slow: 2 ×"), "d": instance("slow: 3 ×")} {
		m.Endpoints = append(m.Endpoints, mesh.Endpoint{EndpointHead: mesh.EndpointHead{Name: "dyn://x.y." + name}, Instances: instances})
	}
	slices.SortFunc(m.Endpoints, func(a, b mesh.Endpoint) int { return strings.Compare(a.Name, b.Name) })
	got := Status(Snapshot{Mesh: m}, now, Style{})
	for _, want := range []string{"dyn://x.y.a and 1 more  7", "dyn://x.y.c", "dyn://x.y.d", "slow: 2 ×\n", "slow: 3 ×\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant %q in it", got, want)
		}
	}
	if n := strings.Count(got, "canaries have failed"); n != 3 {
		t.Errorf("got %d lines, want 3, two of them with a remark:\n%s", n, got)
	}
}

// A history has a word for remarks, by which nothing became what it was before, and one for
// nothing.
func TestRemarksInAHistory(t *testing.T) {
	change := func(i mesh.Instance) mesh.Transition {
		return mesh.Transition{At: mesh.Time{Time: now.Add(-time.Minute)}, Endpoint: "dyn://a.b.c", ID: 2, From: dynmesh.Ready, To: dynmesh.Ready, Instance: text.JSON(i)}
	}
	begun := mesh.Instance{ID: 2, Verdict: dynmesh.Ready, Reasons: []string{"canaries have passed", "fails: 3 of 8"}, Remarks: []mesh.Remark{{Kind: "failures", Text: "fails: 3 of 8"}}}
	over := mesh.Instance{ID: 2, Verdict: dynmesh.Ready, Reasons: []string{"canaries have passed"}}
	got := History([]mesh.Transition{change(begun), change(over)}, now, false, Style{})
	for _, want := range []string{"  remark        fails: 3 of 8\n", "  remark ended  nothing is remarked on it any longer\n"} {
		if !strings.Contains(got, want) || strings.Contains(got, "canaries") || strings.Contains(got, "→") {
			t.Errorf("got\n%s\nwant a line with %q", got, want)
		}
	}
	m := &client.Mesh{}
	m.Endpoints = []mesh.Endpoint{{EndpointHead: mesh.EndpointHead{Name: "dyn://a.b.c"}, Instances: []mesh.Instance{{ID: 2, Changes: []mesh.Change{
		{At: mesh.Time{Time: now.Add(-2 * time.Minute)}, From: dynmesh.Ready, To: dynmesh.Ready, Reason: "fails: 3 of 8"},
		{At: mesh.Time{Time: now.Add(-time.Minute)}, From: dynmesh.Ready, To: dynmesh.Ready},
	}}}}}
	got = History(Remembered(m, now.Add(-time.Hour), now), now, false, Style{})
	if !strings.Contains(got, "  remark        fails: 3 of 8\n") || !strings.Contains(got, "  remark ended  "+remarkEnded+"\n") {
		t.Errorf("of a frontend that keeps no history: got\n%s", got)
	}
	if got := History(nil, now, false, Style{}); got != "Nothing has changed.\n" {
		t.Errorf("of no changes: got %q", got)
	}
	if got := History(nil, now, true, Style{}); got != "" {
		t.Errorf("of no more changes: got %q", got)
	}
}
