package discovery_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

func TestUnionOfStates(t *testing.T) {
	began := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	u := discovery.NewUnion(began, "etcd", "kubernetes")
	for _, step := range []struct {
		of      int
		in      dynmesh.SyncState
		inSince int
		want    dynmesh.SyncState
		since   int
	}{
		{0, dynmesh.Synced, 2, dynmesh.Syncing, 0},
		{0, dynmesh.Stale, 3, dynmesh.Syncing, 0},
		{1, dynmesh.Synced, 4, dynmesh.Stale, 3},
		{1, dynmesh.Stale, 5, dynmesh.Stale, 3},
		{0, dynmesh.Synced, 7, dynmesh.Stale, 5},
		{1, dynmesh.Synced, 6, dynmesh.Synced, 7},
	} {
		got := u.Apply(step.of, dynmesh.RegistryUpdate{State: step.in, Since: at(step.inSince), Revision: 9, MembersRead: true})
		if got.State != step.want || !got.Since.Equal(at(step.since)) || got.Revision != 0 {
			t.Errorf("after %d is %v since %d s: %v since %v, revision %d, want %v since %d s", step.of, step.in, step.inSince,
				got.State, got.Since.Sub(began), got.Revision, step.want, step.since)
		}
		if r := got.Registries[step.of]; len(got.Registries) != 2 || r.State != step.in || !r.Since.Equal(at(step.inSince)) || r.Revision != 9 {
			t.Errorf("registries = %+v", got.Registries)
		}
	}
}

// One registry goes through as it is.
func TestUnionOfOne(t *testing.T) {
	u := discovery.NewUnion(time.Now(), "etcd")
	in := dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Now(), Revision: 3, Deletes: []dynmesh.InstanceKey{keyOf("n", "c", "e", 1)}}
	out := u.Apply(0, in)
	if out.Registries[0] != (dynmesh.RegistryState{Name: "etcd", State: in.State, Since: in.Since, Revision: 3}) {
		t.Errorf("registries = %+v", out.Registries)
	}
	if out.Registries = nil; fmt.Sprint(out) != fmt.Sprint(in) {
		t.Errorf("%+v, want %+v", out, in)
	}
}

// Whatever three registries say: what the updates of the union lead to is what the first of them
// that lists a key has there.
func TestUnionOfEntries(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	u := discovery.NewUnion(time.Now(), "a", "b", "c")
	var truth [3]map[dynmesh.InstanceKey]string
	for n := range truth {
		truth[n] = map[dynmesh.InstanceKey]string{}
	}
	view := map[dynmesh.InstanceKey]string{}
	for round := range 3000 {
		n := random.IntN(3)
		in := dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Now()}
		for id := range dynmesh.InstanceID(6) {
			key := keyOf("n", "c", "e", id)
			switch random.IntN(6) {
			case 0:
				truth[n][key] = fmt.Sprintf("{\"http\":%d}", round)
				in.Puts = append(in.Puts, dynmesh.Instance{InstanceKey: key, Transport: []byte(truth[n][key])})
			case 1:
				delete(truth[n], key)
				in.Deletes = append(in.Deletes, key)
			}
		}
		out := u.Apply(n, in)
		for _, i := range out.Puts {
			view[i.InstanceKey] = string(i.Transport)
			if slices.Contains(out.Deletes, i.InstanceKey) {
				t.Fatalf("%v is put and deleted", i.InstanceKey)
			}
		}
		for _, key := range out.Deletes {
			delete(view, key)
		}
		for id := range dynmesh.InstanceID(6) {
			key, want := keyOf("n", "c", "e", id), ""
			for _, t := range slices.Backward(truth[:]) {
				if v, ok := t[key]; ok {
					want = v
				}
			}
			if view[key] != want {
				t.Fatalf("round %d: %v is %q, want %q", round, key, view[key], want)
			}
		}
	}
}

func TestUnionOfRejects(t *testing.T) {
	u := discovery.NewUnion(time.Now(), "a", "b")
	list := func(n int) *dynmesh.Rejects {
		r := &dynmesh.Rejects{Total: n}
		for i := range min(n, dynmesh.MaxRejects) {
			r.Entries = append(r.Entries, dynmesh.Rejected{Key: fmt.Sprintf("%03d%s", i, strings.Repeat("x", 197)), Detail: "junk"})
		}
		return r
	}
	u.Apply(0, dynmesh.RegistryUpdate{Rejected: list(3)})
	got := u.Apply(1, dynmesh.RegistryUpdate{Rejected: list(400)}).Rejected
	if got.Total != 403 || len(got.Entries) != dynmesh.MaxRejects || !strings.HasPrefix(got.Entries[0].Key, "a: 000x") || !strings.HasPrefix(got.Entries[3].Key, "b: 000x") || len(got.Entries[3].Key) > dynmesh.MaxRejectedKey {
		t.Errorf("%d of %d, first %q, fourth %q", len(got.Entries), got.Total, got.Entries[0].Key, got.Entries[3].Key)
	}
	if got := u.Apply(0, dynmesh.RegistryUpdate{}); got.Rejected != nil {
		t.Error("the list comes again though nothing has changed")
	}
}
