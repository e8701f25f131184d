package otlp_test

import (
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/otlp"
)

// An instance of which no reason is known, or none that is understood here, is not told as gone.
func TestNoReason(t *testing.T) {
	for to, want := range map[string]string{"ready": `"body":{"stringValue":"the instance is ready"}`, "": `"body":{"stringValue":"the instance is no longer known"}`} {
		got := string(otlp.Append(nil, "v1", []mesh.Transition{{To: dynmesh.VerdictState(to), Instance: []byte(`{"id":5}`)}}))
		if !strings.Contains(got, want) {
			t.Errorf("to %q: got %s, want %s in it", to, got, want)
		}
	}
}
