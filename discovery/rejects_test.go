package discovery_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

func TestRejectSet(t *testing.T) {
	s := discovery.NewRejectSet()
	bad := discovery.RejectError{Reason: dynmesh.RejectJSON, Detail: "not JSON"}
	worse := discovery.RejectError{Reason: dynmesh.RejectJSON, Detail: "no JSON either"}
	other := discovery.RejectError{Reason: dynmesh.RejectField, Detail: "no name"}
	for i, step := range []struct {
		why                discovery.RejectError
		changed, newReason bool
	}{{bad, true, true}, {bad, false, false}, {worse, true, false}, {other, true, true}, {bad, true, true}} {
		if changed, newReason := s.Add("k", step.why); changed != step.changed || newReason != step.newReason {
			t.Errorf("step %d: changed %v, new reason %v, want %v, %v", i, changed, newReason, step.changed, step.newReason)
		}
	}
	if left, total := s.Counts(); left[dynmesh.RejectJSON] != 1 || left[dynmesh.RejectField] != 0 || total[dynmesh.RejectJSON] != 2 || total[dynmesh.RejectField] != 1 {
		t.Errorf("counts = %v, %v", left, total)
	}
	if !s.Remove("k") || s.Remove("k") {
		t.Error("Remove says that it was there never, or twice")
	}
	if list := discovery.ListRejects(s); list.Total != 0 || len(list.Entries) != 0 {
		t.Errorf("list = %+v, want it empty", list)
	}
}

// The list has the first hundred keys of all sets, however much there is, each of them a line.
func TestListRejects(t *testing.T) {
	a, b := discovery.NewRejectSet(), discovery.NewRejectSet()
	for i := range 5000 {
		set := a
		if i%2 == 1 {
			set = b
		}
		set.Add(fmt.Sprintf("%04d\n%s", i, strings.Repeat("é", 500)), discovery.RejectError{Reason: dynmesh.RejectKey, Detail: "junk"})
	}
	list := discovery.ListRejects(a, b)
	if list.Total != 5000 || len(list.Entries) != dynmesh.MaxRejects {
		t.Fatalf("%d entries of %d", len(list.Entries), list.Total)
	}
	for i, e := range list.Entries {
		if !strings.HasPrefix(e.Key, fmt.Sprintf("%04d é", i)) || len(e.Key) > dynmesh.MaxRejectedKey {
			t.Errorf("entry %d is %q", i, e.Key)
		}
	}
}

func TestRejectfIsOneLine(t *testing.T) {
	err := discovery.Rejectf(dynmesh.RejectKey, "%s", strings.Repeat("a\n\x1b", 1<<20))
	if len(err.Error()) > dynmesh.MaxRejectedDetail || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("detail of %d bytes: %q", len(err.Error()), err.Error())
	}
}
