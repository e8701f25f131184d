package verdict

import (
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
)

// What the system port of a worker that is no member tells one watcher decides, whatever others see
// of its kernel. A member's own word is worth more.
func TestSystemPortOfForeignWorkers(t *testing.T) {
	path := func(f dynmesh.Finding) Path {
		return Path{Kind: dynmesh.KindPath, By: "frontend 1", State: dynmesh.Alive, Finding: f, Reason: dynmesh.ReasonRefused, At: began}
	}
	system := func(f dynmesh.Finding, reason dynmesh.Reason) Path {
		return Path{Kind: dynmesh.KindSystem, By: "frontend 2", State: dynmesh.Alive, Finding: f, Reason: reason, Detail: "the detail", At: began}
	}
	pass, fail := path(dynmesh.Pass), path(dynmesh.Fail)
	answers, frozen := system(dynmesh.Pass, ""), system(dynmesh.Fail, dynmesh.ReasonFrozen)
	unready, drains := system(dynmesh.Fail, dynmesh.ReasonStatus), system(dynmesh.Pass, "")
	drains.Draining = true
	died, left := frozen, frozen
	died.State = dynmesh.Dead
	left.Stale = true
	for _, tt := range []struct {
		name   string
		member dynmesh.MemberState
		paths  []Path
		want   dynmesh.VerdictState
		says   string
	}{
		{"answers", "", []Path{pass, answers}, dynmesh.Ready, "its system port answers: the detail"},
		{"frozen", "", []Path{pass, frozen}, dynmesh.Unreachable, "it is frozen: the detail, frontend 2 has found since"},
		{"frozen, by nobody else's word", "", []Path{frozen}, dynmesh.Unreachable, "it is frozen"},
		{"frozen, by one that died", "", []Path{pass, died}, dynmesh.Ready, "reaches it"},
		{"frozen, in an earlier life", "", []Path{pass, left}, dynmesh.Ready, "reaches it"},
		{"not ready", "", []Path{pass, unready}, dynmesh.NotReady, "the detail, frontend 2 has found since"},
		{"not ready, and the other cannot reach it", "", []Path{fail, unready}, dynmesh.NotReady, "the detail"},
		{"a member held for dead, whose system port is not ready", dynmesh.Dead, []Path{unready}, dynmesh.Ready, "gossip has lost its worker"},
		{"drains", "", []Path{pass, drains}, dynmesh.Draining, "its system port says that it drains"},
		{"dead", "", []Path{fail}, dynmesh.Unreachable, "cannot reach it"},
		{"a member", dynmesh.Alive, []Path{pass, frozen}, dynmesh.Ready, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := Of(Evidence{Registered: true, Read: true, Gossip: true, Paths: tt.paths, Worker: Worker{State: tt.member, Since: began}})
			if v.State != tt.want || !strings.Contains(v.Reasons[0], tt.says) || v.Verified {
				t.Errorf("got %s, verified %v, %q; want %s: …%s…", v.State, v.Verified, v.Reasons, tt.want, tt.says)
			}
		})
	}
}
