package console

import (
	"testing"

	frontends "github.com/dynmesh/dynmesh/frontend/verdict"
)

// The frontend warns of itself from the same health score on.
func TestUnwell(t *testing.T) {
	if unhealthyScore != frontends.Unwell {
		t.Errorf("got %d, want %d", unhealthyScore, frontends.Unwell)
	}
}
