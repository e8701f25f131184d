package kubernetes

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/internal/apiserver"
)

// What a pod's gate is to be.
func TestWanted(t *testing.T) {
	in, out := output.Server{State: output.In}, output.Server{State: output.Out, Verdict: dynmesh.Unreachable}
	draining, degraded := output.Server{State: output.Draining}, output.Server{State: output.Degraded}
	held, unheard := output.Server{State: output.In, Held: true}, output.Server{State: output.Out, Unheard: true}
	for _, tt := range []struct {
		name    string
		gate    string
		servers []output.Server
		decided bool
		want    string
	}{
		{"nothing is decided, never written", "", nil, false, "True Unknown"},
		{"nothing is decided, withdrawn", "False", nil, false, " "},
		{"nothing is decided, in", "True", nil, false, "True Unknown"},
		{"not known", "", nil, true, "True Unknown"},
		{"not known any longer", "False", nil, true, "True Unknown"},
		{"in", "", []output.Server{in}, true, "True InService"},
		{"degraded", "True", []output.Server{degraded}, true, "True InService"},
		{"out", "True", []output.Server{out}, true, "False Unreachable"},
		{"out before it was written", "", []output.Server{out}, true, "False Unreachable"},
		{"draining", "True", []output.Server{draining}, true, "False Draining"},
		{"works again", "False", []output.Server{in}, true, "True InService"},
		{"one of two is out", "True", []output.Server{in, {State: output.Out, Verdict: dynmesh.NotReady}}, true, "False NotReady"},
		{"held by the floor", "True", []output.Server{held}, true, "True InService"},
		{"out, and held as a model's", "False", []output.Server{out, held}, true, "True Held"},
		{"new", "", []output.Server{unheard}, true, "True InService"},
		{"new, and withdrawn", "False", []output.Server{unheard}, true, " "},
		{"new, and another one is out", "True", []output.Server{unheard, out}, true, "False Unreachable"},
	} {
		var ties []tie
		for i := range tt.servers {
			ties = append(ties, tie{nil, &tt.servers[i]})
		}
		got := wanted(&apiserver.Pod{Gate: tt.gate}, ties, tt.decided)
		if got.status+" "+got.reason != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got.status+" "+got.reason, tt.want)
		}
	}
}

// What is told of a server is what its pod's gate makes of it, and why, as far as that still holds.
func TestAsGated(t *testing.T) {
	in, out, held := output.Server{State: output.In, Reason: "works"}, output.Server{State: output.Out, Reason: "fails"}, output.Server{State: output.In, Held: true}
	for _, tt := range []struct {
		gate string
		of   output.Server
		with []output.Server
		want string
	}{
		{"True", in, nil, "in: works"},
		{"False", out, nil, "out: fails"},
		{"False", in, []output.Server{out}, "out: its pod is withdrawn: dyn://..: fails"},
		{"False", in, nil, "out: its pod is withdrawn"},
		{"True", out, []output.Server{held}, "in: it would be withdrawn, and too few would be left"},
	} {
		ties := []tie{{nil, &tt.of}}
		for i := range tt.with {
			ties = append(ties, tie{nil, &tt.with[i]})
		}
		if s := asGated(&tt.of, &apiserver.Pod{Gate: tt.gate}, ties); s.State.String()+": "+s.Reason != tt.want {
			t.Errorf("%s, %v with %v: got %v: %s, want %s", tt.gate, tt.of.State, tt.with, s.State, s.Reason, tt.want)
		}
	}
}

// A patch is for the pod in the life that is meant, and touches nothing but the gate.
func TestGateRequest(t *testing.T) {
	p := &apiserver.Pod{Meta: apiserver.Meta{Name: "p-1"}, UID: "u-1"}
	r := gateRequest("/pods", p, gate{gateFalse, "NotReady", "why"}, time.Date(2026, 11, 29, 7, 0, 0, 0, time.UTC))
	raw, err := json.Marshal(r.Body)
	want := `{"metadata":{"uid":"u-1"},"status":{"conditions":[{"lastTransitionTime":"2026-11-29T07:00:00Z","message":"why","reason":"NotReady","status":"False","type":"dynmesh.dev/ready"}]}}`
	if err != nil || string(raw) != want || r.Path != "/pods/p-1/status" || r.Method != http.MethodPatch || r.Type != "application/strategic-merge-patch+json" {
		t.Errorf("got %s %s %s %s", r.Method, r.Path, r.Type, raw)
	}
}
