package frontend

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
)

// The model is a map: whatever batches come, the merged records are the map's content in order.
func TestMergeModel(t *testing.T) {
	endpoints := threeEndpoints()
	rapid.Check(t, func(t *rapid.T) {
		var records []*record
		model := map[dynmesh.InstanceKey]string{}
		for range rapid.IntRange(1, 6).Draw(t, "batches") {
			var batch []change
			for range rapid.IntRange(0, 12).Draw(t, "changes") {
				e := rapid.SampledFrom(endpoints).Draw(t, "endpoint")
				id := dynmesh.InstanceID(rapid.IntRange(0, 6).Draw(t, "id"))
				json := fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "json"))
				gone := rapid.Bool().Draw(t, "gone")
				batch = append(batch, change{newRecord(e, id, []byte(json)), gone})
				if k := (dynmesh.InstanceKey{Endpoint: e.Endpoint, ID: id}); gone {
					delete(model, k)
				} else {
					model[k] = json
				}
			}
			before := slices.Clone(records)
			merged := merge(records, latest(batch))
			if !slices.Equal(before, records) {
				t.Fatal("merge wrote into its input, which a page may hold")
			}
			records = merged
			keys := slices.SortedFunc(maps.Keys(model), dynmesh.InstanceKey.Compare)
			if len(records) != len(keys) {
				t.Fatalf("got %d records, want %d", len(records), len(keys))
			}
			for i, r := range records {
				if got := (dynmesh.InstanceKey{Endpoint: r.endpoint.Endpoint, ID: r.id}); got != keys[i] || string(r.json) != model[got] {
					t.Fatalf("record %d: got %v %s, want %v %s", i, got, r.json, keys[i], model[keys[i]])
				}
			}
		}
	})
}

func TestMergeWithoutEffectReturnsItsInput(t *testing.T) {
	e := newEndpoint(dynmesh.Endpoint{Namespace: "a", Component: "b", Name: "c"})
	records := []*record{newRecord(e, 1, []byte("x")), newRecord(e, 2, []byte("y"))}
	merged := merge(records, []change{
		{newRecord(e, 1, []byte("x")), false}, // put again as it is
		{newRecord(e, 3, nil), true},          // was never there
	})
	if !sameSlice(merged, records) {
		t.Errorf("got a new slice of %d records, want the old one", len(merged))
	}
}
