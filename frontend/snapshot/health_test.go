package snapshot

import (
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// wantHealth joins the answer from its parts.
func wantHealth(model map[dynmesh.InstanceKey]dynmesh.Instance) string {
	if len(model) == 0 {
		return emptyHealth
	}
	var names, instances []string
	for _, k := range slices.SortedFunc(maps.Keys(model), dynmesh.InstanceKey.Compare) {
		names = append(names, `"`+k.Endpoint.String()+`"`)
		instances = append(instances, string(model[k].AppendJSON(nil)))
	}
	slices.Sort(names)
	return `{"endpoints":[` + strings.Join(slices.Compact(names), ",") + `],"instances":[` + strings.Join(instances, ",") + `],"status":"healthy"}`
}

// drawUpdate draws what a small registry tells of one stretch or of single instances, and does it
// to model as well.
func drawUpdate(t *rapid.T, model map[dynmesh.InstanceKey]dynmesh.Instance) dynmesh.RegistryUpdate {
	endpoints := []dynmesh.Endpoint{
		{Namespace: "a", Component: "b", Name: "c"}, {Namespace: "a", Component: "b", Name: "d"}, {Namespace: "a-b", Component: "b", Name: "c"},
	}
	u := testkit.Synced()
	seen := map[dynmesh.InstanceKey]bool{}
	for range rapid.IntRange(0, 6).Draw(t, "runs") {
		e := rapid.SampledFrom(endpoints).Draw(t, "endpoint")
		first := rapid.IntRange(1, 40).Draw(t, "first")
		run := rapid.SampledFrom([]int{1, 1, 2, 5, 40}).Draw(t, "run")
		version := rapid.IntRange(0, 2).Draw(t, "version")
		gone := rapid.Bool().Draw(t, "gone")
		for id := first; id < first+run; id++ {
			k := dynmesh.InstanceKey{Endpoint: e, ID: dynmesh.InstanceID(id)}
			if seen[k] {
				continue // an update names no instance twice
			}
			seen[k] = true
			if gone {
				u.Deletes = append(u.Deletes, k)
				delete(model, k)
			} else {
				model[k] = dynmesh.Instance{InstanceKey: k, Transport: raw(fmt.Sprint(version))}
				u.Puts = append(u.Puts, model[k])
			}
		}
	}
	return u
}

// The bytes of /health and its tag follow from the set of its instances alone: not from the way
// there, nor from where the chunks begin. So all frontends give the same answer under the same tag.
// And no two answers share a tag.
func TestHealthModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := map[dynmesh.InstanceKey]dynmesh.Instance{}
		k := newKnown(false)
		h := k.builder.Snapshot().Health
		tags := map[string]string{string(h.Identity.Bytes()): h.Identity.ETag}
		for range rapid.IntRange(1, 8).Draw(t, "batches") {
			k.discover(drawUpdate(t, model))
			h := k.builder.Snapshot().Health
			want := wantHealth(model)
			if got := string(h.Identity.Bytes()); got != want || h.Identity.Size != len(want) || h.Instances != len(model) {
				t.Fatalf("got  %d instances, %d bytes: %s\nwant %d instances, %d bytes: %s",
					h.Instances, h.Identity.Size, got, len(model), len(want), want)
			}
			counts := map[string]int{}
			for k := range model {
				counts[k.Endpoint.String()]++
			}
			for _, e := range h.Endpoints {
				if e.Instances != counts[e.Name] {
					t.Fatalf("got %d instances of %s, want %d", e.Instances, e.Name, counts[e.Name])
				}
				delete(counts, e.Name)
			}
			if len(counts) > 0 {
				t.Fatalf("endpoints are not counted: %v", counts)
			}
			other := fromScratch(model)
			if got := string(other.Identity.Bytes()); got != want || other.Identity.ETag != h.Identity.ETag {
				t.Fatalf("from scratch: got  %s %s\nwant %s %s", other.Identity.ETag, got, h.Identity.ETag, want)
			}
			tags[want] = h.Identity.ETag
		}
		unique := slices.Compact(slices.Sorted(maps.Values(tags)))
		if len(unique) != len(tags) {
			t.Fatalf("got %d tags for %d answers", len(unique), len(tags))
		}
	})
}

// fromScratch is what another frontend makes of the same instances: they come to it in another
// order.
func fromScratch(model map[dynmesh.InstanceKey]dynmesh.Instance) *Health {
	all := slices.Collect(maps.Values(model))
	k := newKnown(false)
	for len(all) > 0 {
		n := 1 + rand.Intn(len(all))
		k.discover(testkit.Synced(all[:n]...))
		all = all[n:]
	}
	return k.builder.Snapshot().Health
}

// In JSON these names look the same, so all that tells the two answers apart is which instance
// comes first.
func TestTagsTellOrdersApart(t *testing.T) {
	health := func(first, second string) *Representation {
		k := newKnown(false)
		k.discover(testkit.Synced(
			dynmesh.Instance{InstanceKey: testkit.Key("a\xfe", "b", "c", 1), Transport: raw(first)},
			dynmesh.Instance{InstanceKey: testkit.Key("a\xff", "b", "c", 1), Transport: raw(second)},
		))
		return k.builder.Snapshot().Health.Identity
	}
	a, b := health(`{"http":"1"}`, `{"http":"2"}`), health(`{"http":"2"}`, `{"http":"1"}`)
	if x, y := string(a.Bytes()), string(b.Bytes()); x == y || len(x) != len(y) {
		t.Fatalf("got\n%s\n%s\nwant the same instances in two orders", x, y)
	}
	if a.ETag == b.ETag {
		t.Errorf("got tag %s for both", a.ETag)
	}
}

const largeFleet = 10_000

// constants is how many bytes an answer has at most that are the same in each one and not counted.
const constants = 100

// unshared returns how many bytes of now are not old's.
func unshared(old, now *Representation) (n int) {
	shared := map[*byte]bool{}
	for _, b := range old.Buffers {
		shared[&b[0]] = true
	}
	for _, b := range now.Buffers {
		if !shared[&b[0]] {
			n += len(b)
		}
	}
	return n
}

func TestOneChangeSharesTheRestOfHealth(t *testing.T) {
	k := newKnown(false)
	k.discover(testkit.Synced(testkit.Instances(largeFleet)...))
	old := k.builder.Snapshot().Health.Identity
	k.discover(testkit.Synced(testkit.HTTPInstance(testkit.Key("dynamo", "backend-4", "generate", 1))))
	now := k.builder.Snapshot().Health.Identity
	fresh, limit := unshared(old, now), now.Size/20
	if fresh == 0 || fresh > limit {
		t.Errorf("got %d new bytes of %d, want at most %d", fresh, now.Size, limit)
	}
	if kept := unshared(now, old); int(old.Replaced()) < kept-constants || old.Replaced() > int64(limit) || now.Replaced() != 0 {
		t.Errorf("readers of the old one are said to keep %d bytes, want %d", old.Replaced(), kept)
	}
}

// What several versions of /mesh have in common is the same memory.
func TestOneVerdictSharesTheRestOfTheMesh(t *testing.T) {
	k := newKnown(true)
	u, g := testkit.Mesh(largeFleet)
	k.discover(u)
	k.gossip(g)
	old := k.builder.Snapshot()
	k.gossip(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{testkit.Canary(u.Puts[5000].InstanceKey, 2, false)}})
	now := k.builder.Snapshot()
	if now.Version != old.Version+1 || now.Health != old.Health || now.Mesh == old.Mesh || now.Mesh.Targets != old.Mesh.Targets {
		t.Errorf("got version %d after %d, the same /health %v, /mesh %v", now.Version, old.Version, now.Health == old.Health, now.Mesh == old.Mesh)
	}
	before, after := old.Mesh.Identity, now.Mesh.Identity
	fresh, limit := unshared(before, after), after.Size/50
	if fresh == 0 || fresh > limit {
		t.Errorf("got %d new bytes of %d, want at most %d", fresh, after.Size, limit)
	}
	if kept := unshared(after, before); int(before.Replaced()) < kept-constants || before.Replaced() > int64(limit) || after.Replaced() != 0 {
		t.Errorf("readers of the old one are said to keep %d bytes, want %d", before.Replaced(), kept)
	}
}
