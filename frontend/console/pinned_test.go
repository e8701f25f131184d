package console

import (
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/frontend/mesh"
)

// What canaries find that a frontend pins to a worker is told as theirs, and not as its own.
func TestPinnedCanariesAreTheFrontends(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    mesh.Observation
		want string
	}{
		{"pass", mesh.Observation{Finding: "pass", LatencySeconds: 0.012, Counts: true}, "canaries of frontend 2, pinned to it, have passed since then; the first time took 12ms"},
		{"fail", mesh.Observation{Finding: "fail", Reason: "timeout", Detail: "no whole answer within 2s", Counts: true}, "canaries of frontend 2, pinned to it, have failed since then: timeout: no whole answer within 2s"},
		{"of one that is gone", mesh.Observation{Finding: "fail", Reason: "timeout", Detail: "x"}, "canaries of frontend 2, pinned to it, failed: timeout: x (does not count: whoever found it is gone"},
	} {
		tt.o.Kind = "pinned"
		if got := describeObservation(tt.o, "frontend 2"); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
