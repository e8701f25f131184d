package fleet

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// Where nothing but the gossip port of a worker is cut off, so that its word comes by connections
// of its own, it is ready, whatever gossip makes of it, and a warning names it until it is reached.
func TestPortOfGossipIsCutOff(t *testing.T) {
	r := newRig(t)
	a, b, c := r.trio()
	warned := func() bool {
		return slices.ContainsFunc(r.f.Warnings(), func(w string) bool {
			return strings.HasPrefix(w, "the gossip port of worker "+a.ID.String()+" on host-a (") && strings.Contains(w, " is cut off")
		})
	}
	for _, by := range []dynmesh.InstanceID{b.ID, c.ID} {
		found := r.path(a.ID, by, dynmesh.Pass)
		found.Reason = dynmesh.ReasonUnreachable
		r.observe(found)
	}
	if !warned() {
		t.Errorf("got warnings %q", r.f.Warnings())
	}
	r.want(a, dynmesh.Ready, "its gossip port is cut off, worker b on host-b has found since ")
	r.member(a.ID, dynmesh.Suspect)
	r.want(a, dynmesh.Ready, "its gossip port is cut off")
	r.member(a.ID, dynmesh.Dead)
	r.want(a, dynmesh.Ready, "gossip declared its worker dead at ")
	r.observe(r.canary(a, false)) // its word arrives
	r.want(a, dynmesh.NotReady, "")
	r.member(a.ID, dynmesh.Alive)
	r.observe(r.canary(a, true), r.path(a.ID, b.ID, dynmesh.Pass), r.path(a.ID, c.ID, dynmesh.Pass))
	r.want(a, dynmesh.Ready, "canaries have passed")
	if warned() {
		t.Errorf("it is reached, and got warnings %q", r.f.Warnings())
	}
	r.gossip(dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 4, Stopped: 30 * time.Second}})
	if w := r.f.Warnings(); len(w) == 0 || !strings.Contains(w[0], "did not run for 30s") || r.f.Suspicion() == "" {
		t.Errorf("it did not run, and got warnings %q, suspicion %q", w, r.f.Suspicion())
	}
	r.gossip(dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 4, Shut: true}})
	if w := r.f.Warnings(); len(w) == 0 || !strings.Contains(strings.Join(w, "\n"), "this frontend's own port of gossip") {
		t.Errorf("got warnings %q", w)
	}
}
