package discovery_test

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

func TestLedger(t *testing.T) {
	began := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	l := discovery.NewLedger(began)
	read := func(transports map[dynmesh.InstanceID]string, junk ...string) discovery.Entries {
		e := discovery.NewEntries()
		for id, transport := range transports {
			key := keyOf("n", "c", "e", id)
			e.Instances[key] = dynmesh.Instance{InstanceKey: key, Transport: []byte(transport)}
		}
		for _, name := range junk {
			e.Reject(name, discovery.Rejectf(dynmesh.RejectJSON, "junk"))
		}
		return e
	}
	type want struct {
		changed                     bool
		state                       dynmesh.SyncState
		since                       int
		puts, deletes, total, fresh int // total of what is left out; -1: as before
	}
	for _, step := range []struct {
		what string
		step discovery.Step
		want want
	}{
		{"away before the first read", l.Away(at(1)), want{}},
		{"the first read", l.Replace(read(map[dynmesh.InstanceID]string{1: "{}", 2: "{}"}), at(2)), want{true, dynmesh.Synced, 2, 2, 0, -1, 0}},
		{"the same once more", l.Replace(read(map[dynmesh.InstanceID]string{1: "{}", 2: "{}"}), at(3)), want{}},
		{"one changed, one gone, one junk", l.Replace(read(map[dynmesh.InstanceID]string{1: "[]"}, "x"), at(4)), want{true, dynmesh.Synced, 2, 1, 1, 1, 1}},
		{"a part", l.Change(read(map[dynmesh.InstanceID]string{3: "{}"}), discovery.Gone{Instances: []dynmesh.InstanceKey{keyOf("n", "c", "e", 1), keyOf("n", "c", "e", 9)}}), want{true, dynmesh.Synced, 2, 1, 1, -1, 0}},
		{"mended", l.Change(read(nil), discovery.Gone{Mended: []string{"x", "y"}}), want{true, dynmesh.Synced, 2, 0, 0, 0, 0}},
		{"away", l.Away(at(4)), want{true, dynmesh.Stale, 4, 0, 0, -1, 0}},
		{"still away", l.Away(at(5)), want{}},
		{"back, with nothing new", l.Replace(read(map[dynmesh.InstanceID]string{3: "{}"}), at(6)), want{true, dynmesh.Synced, 6, 0, 0, -1, 0}},
	} {
		u := step.step.Update
		if step.step.Changed != step.want.changed {
			t.Errorf("%s: changed is %v", step.what, step.step.Changed)
		}
		if !step.want.changed {
			continue
		}
		total := -1
		if u.Rejected != nil {
			total = u.Rejected.Total
		}
		got := want{true, u.State, int(u.Since.Sub(began).Seconds()), len(u.Puts), len(u.Deletes), total, len(step.step.Fresh)}
		if got != step.want {
			t.Errorf("%s: %+v, want %+v", step.what, got, step.want)
		}
	}
	if s := l.Status(); s.State != dynmesh.Synced || s.Left[dynmesh.RejectJSON] != 0 || s.Rejected[dynmesh.RejectJSON] != 1 {
		t.Errorf("status = %+v", s)
	}
}
