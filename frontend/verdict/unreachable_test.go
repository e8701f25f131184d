package verdict

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// That nobody says any longer that an instance cannot be reached is no sign of life.
func TestUnreachedUntilReached(t *testing.T) {
	pass := Path{By: "worker 1", State: dynmesh.Alive, Finding: dynmesh.Pass, At: began}
	fail := Path{By: "worker 2", State: dynmesh.Alive, Finding: dynmesh.Fail, Reason: dynmesh.ReasonTimeout, At: began}
	lost := pass
	lost.ObserverUnreachable = true
	for _, tt := range []struct {
		name      string
		state     dynmesh.MemberState
		since     time.Duration // of the state, after it became unreachable
		unreached bool
		paths     []Path
		want      dynmesh.VerdictState
	}{
		{"never was", dynmesh.Alive, -time.Hour, false, nil, dynmesh.Ready},
		{"no word", dynmesh.Alive, -time.Hour, true, nil, dynmesh.Unreachable},
		{"one still fails", dynmesh.Alive, -time.Hour, true, []Path{fail}, dynmesh.Unreachable},
		{"one still fails, and never was", dynmesh.Alive, -time.Hour, false, []Path{fail}, dynmesh.Ready},
		{"reached by one that is lost", dynmesh.Alive, -time.Hour, true, []Path{lost}, dynmesh.Unreachable},
		{"reached", dynmesh.Alive, -time.Hour, true, []Path{pass}, dynmesh.Ready},
		{"reached by one of two", dynmesh.Alive, -time.Hour, true, []Path{pass, fail}, dynmesh.Ready},
		{"suspected since", dynmesh.Suspect, time.Second, true, nil, dynmesh.Unreachable},
		{"back since", dynmesh.Alive, time.Second, true, []Path{fail}, dynmesh.Ready},
		{"foreign now", "", 0, true, nil, dynmesh.Ready}, // whose lease counts
	} {
		e := Evidence{Registered: true, Read: true, Gossip: true, Paths: tt.paths, Worker: Worker{State: tt.state, Since: began.Add(tt.since)}}
		if tt.unreached {
			e.UnreachableSince = began
		}
		v := Of(e)
		if v.State != tt.want {
			t.Errorf("%s: got %s %q, want %s", tt.name, v.State, v.Reasons, tt.want)
		}
		if said := strings.Contains(strings.Join(v.Reasons, "\n"), "nobody has reached it since then"); said != (tt.want == dynmesh.Unreachable) {
			t.Errorf("%s: got %q", tt.name, v.Reasons)
		}
	}
}

// Whoever becomes unreachable is so for the same reasons a moment later: looking again, for
// whatever cause, changes no answer.
func TestReasonsStandWhenLookedAtAgain(t *testing.T) {
	for _, group := range groups(2) {
		for _, state := range []dynmesh.MemberState{dynmesh.Alive, dynmesh.Suspect, dynmesh.Dead, dynmesh.Left, ""} {
			for _, alone := range []bool{false, true} {
				e := Evidence{Registered: true, Read: true, Gossip: true, Alone: alone, Worker: Worker{State: state, Since: began}}
				for _, w := range group {
					e.Paths = append(e.Paths, w.path)
				}
				first := Of(e)
				if first.State != dynmesh.Unreachable {
					continue
				}
				e.UnreachableSince = later(time.Second)
				if again := Of(e); !slices.Equal(again.Reasons, first.Reasons) {
					t.Errorf("got %q, and again %q", first.Reasons, again.Reasons)
				}
			}
		}
	}
}

// It takes more watchers who cannot reach an instance than watchers who do, and two at least.
func TestMajorityOfWatchers(t *testing.T) {
	for passes := range 5 {
		for fails := range 5 {
			e := Evidence{Registered: true, Read: true, Gossip: true, Worker: Worker{State: dynmesh.Alive, Since: began}}
			for range passes {
				e.Paths = append(e.Paths, Path{By: "worker 1", State: dynmesh.Alive, Finding: dynmesh.Pass, At: began})
			}
			for range fails {
				e.Paths = append(e.Paths, Path{By: "worker 2", State: dynmesh.Alive, Finding: dynmesh.Fail, Reason: dynmesh.ReasonTimeout, At: began})
			}
			want := dynmesh.Ready
			if fails >= 2 && passes < fails {
				want = dynmesh.Unreachable
			}
			if got := Of(e).State; got != want {
				t.Errorf("%d reach it and %d cannot: got %s, want %s", passes, fails, got, want)
			}
		}
	}
}
