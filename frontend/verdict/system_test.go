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

// Canaries that somebody pins to a worker that is no member make it verified, or not ready. A
// member's own word is worth more.
func TestPinnedCanaries(t *testing.T) {
	pinned := func(f dynmesh.Finding) Path {
		return Path{Kind: dynmesh.KindPinned, By: "frontend 2", State: dynmesh.Alive, Finding: f, Reason: dynmesh.ReasonTimeout, Detail: "the detail", Latency: 12e6, At: began}
	}
	reached := Path{Kind: dynmesh.KindPath, By: "frontend 1", State: dynmesh.Alive, Finding: dynmesh.Pass, At: began}
	missed := reached
	missed.Finding, missed.Reason = dynmesh.Fail, dynmesh.ReasonRefused
	passes, fails := pinned(dynmesh.Pass), pinned(dynmesh.Fail)
	died, left := passes, fails
	died.State, left.Stale = dynmesh.Dead, true
	for _, tt := range []struct {
		name     string
		member   dynmesh.MemberState
		paths    []Path
		want     dynmesh.VerdictState
		verified bool
		says     string
	}{
		{"they pass", "", []Path{reached, passes}, dynmesh.Ready, true, "have passed since 2026-11-22T10:00:00.000Z, the first in 12ms, frontend 2 has found"},
		{"they pass, and the other cannot reach it", "", []Path{missed, passes}, dynmesh.Ready, true, "have passed"},
		{"they fail", "", []Path{reached, fails}, dynmesh.NotReady, false, "have failed since 2026-11-22T10:00:00.000Z: timeout: the detail, frontend 2 has found"},
		{"they passed, by one that died", "", []Path{reached, died}, dynmesh.Ready, false, "does not run dynmesh"},
		{"they failed, in an earlier life", "", []Path{reached, left}, dynmesh.Ready, false, "does not run dynmesh"},
		{"a member", dynmesh.Alive, []Path{reached, fails}, dynmesh.Ready, false, "member of gossip"},
		{"a member that was proven before it was one", dynmesh.Alive, []Path{reached, passes}, dynmesh.Ready, false, "member of gossip"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := Of(Evidence{Registered: true, Read: true, Gossip: true, Paths: tt.paths, Worker: Worker{State: tt.member, Since: began}})
			if v.State != tt.want || v.Verified != tt.verified || !strings.Contains(v.Reasons[0], tt.says) {
				t.Errorf("got %s, verified %v, %q; want %s, %v: …%s…", v.State, v.Verified, v.Reasons, tt.want, tt.verified, tt.says)
			}
		})
	}
}
