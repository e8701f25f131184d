package worker

import (
	"maps"
	"testing"
)

// TestReadiness is the specification of when a worker is ready.
func TestReadiness(t *testing.T) {
	type statuses = map[string]Status
	for _, tt := range []struct {
		name     string
		facts    facts
		want     Status
		wantEach statuses
	}{
		{"serves nothing, starting notready", facts{starting: NotReady}, NotReady, statuses{}},
		{"serves nothing, starting ready", facts{starting: Ready}, Ready, statuses{}},
		{
			"one endpoint, ready",
			facts{starting: NotReady, handled: statuses{"a": Ready}},
			Ready, statuses{"a": Ready},
		}, {
			"one endpoint, not ready: the starting status has no say",
			facts{starting: Ready, handled: statuses{"a": NotReady}},
			NotReady, statuses{"a": NotReady},
		}, {
			"all served count when none is listed",
			facts{starting: NotReady, handled: statuses{"a": Ready, "b": NotReady}},
			NotReady, statuses{"a": Ready, "b": NotReady},
		}, {
			"all served and all ready",
			facts{starting: NotReady, handled: statuses{"a": Ready, "b": Ready}},
			Ready, statuses{"a": Ready, "b": Ready},
		}, {
			"only the listed one counts: it is ready",
			facts{starting: NotReady, listed: []string{"a"}, handled: statuses{"a": Ready, "b": NotReady}},
			Ready, statuses{"a": Ready, "b": NotReady},
		}, {
			"only the listed one counts: it is not ready",
			facts{starting: Ready, listed: []string{"b"}, handled: statuses{"a": Ready, "b": NotReady}},
			NotReady, statuses{"a": Ready, "b": NotReady},
		}, {
			"each listed one counts",
			facts{starting: NotReady, listed: []string{"a", "b"}, handled: statuses{"a": Ready, "b": NotReady}},
			NotReady, statuses{"a": Ready, "b": NotReady},
		}, {
			"listed but not served",
			facts{starting: Ready, listed: []string{"a", "c"}, handled: statuses{"a": Ready}},
			NotReady, statuses{"a": Ready, "c": NotReady},
		}, {
			"listed, and nothing handled: the starting status has no say",
			facts{starting: Ready, listed: []string{"c"}},
			NotReady, statuses{"c": NotReady},
		}, {
			"stopping: nothing is ready any more",
			facts{stopping: true, starting: Ready, handled: statuses{"a": Ready, "b": NotReady}},
			NotReady, statuses{"a": NotReady, "b": NotReady},
		}, {
			"stopping, and serves nothing",
			facts{stopping: true, starting: Ready},
			NotReady, statuses{},
		}, {
			"stopping, with a list",
			facts{stopping: true, starting: Ready, listed: []string{"a"}, handled: statuses{"a": Ready}},
			NotReady, statuses{"a": NotReady},
		},
	} {
		got, each := readiness(tt.facts)
		if got != tt.want || !maps.Equal(each, tt.wantEach) {
			t.Errorf("%s: got %v %v, want %v %v", tt.name, got, each, tt.want, tt.wantEach)
		}
	}
}
