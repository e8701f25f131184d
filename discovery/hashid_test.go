package discovery_test

import (
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

// The first is what Dynamo 1.6.1 wrote for a pod of that name.
func TestHashID(t *testing.T) {
	for name, want := range map[string]dynmesh.InstanceID{
		"w-0": 8202434480640659,
	} {
		if got := discovery.HashID(name); got != want {
			t.Errorf("HashID(%q) = %d, want %d", name, got, want)
		}
	}
	if discovery.HashID("10.0.0.1:8000")>>53 != 0 {
		t.Error("more than 53 bits")
	}
}
