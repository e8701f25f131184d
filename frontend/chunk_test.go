package frontend

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
)

// checkChunks says what is wrong with chunks of at most size records.
func checkChunks(chunks []*chunk, size int) error {
	var before *record
	for i, c := range chunks {
		if n := len(c.records); n == 0 || n > size || n < size/4 && len(chunks) > 1 {
			return fmt.Errorf("chunk %d of %d: got %d records, want %d to %d", i, len(chunks), n, size/4, size)
		}
		var json []byte
		var sum uint64
		counts := map[*endpoint]int{}
		for _, r := range c.records {
			if before != nil && before.compare(r) >= 0 {
				return fmt.Errorf("chunk %d: got %s/%v after %s/%v", i, r.endpoint.name, r.id, before.endpoint.name, before.id)
			}
			before = r
			json = fmt.Appendf(json, ",%s", r.json)
			sum += r.hash
			counts[r.endpoint]++
		}
		if !bytes.Equal(c.json, json) || c.sum != sum {
			return fmt.Errorf("chunk %d: got %s, sum %x, want %s, %x", i, c.json, c.sum, json, sum)
		}
		for _, e := range c.endpoints {
			if counts[e.endpoint] != e.instances {
				return fmt.Errorf("chunk %d: got %d of %s, want %d", i, e.instances, e.name, counts[e.endpoint])
			}
			delete(counts, e.endpoint)
		}
		if len(counts) != 0 {
			return fmt.Errorf("chunk %d: %d endpoints are not counted", i, len(counts))
		}
	}
	return nil
}

func threeEndpoints() []*endpoint {
	return []*endpoint{
		newEndpoint(dynmesh.Endpoint{Namespace: "a", Component: "b", Name: "c"}),
		newEndpoint(dynmesh.Endpoint{Namespace: "a", Component: "b", Name: "d"}),
		newEndpoint(dynmesh.Endpoint{Namespace: "a-b", Component: "b", Name: "c"}),
	}
}

// drawBatch draws changes to one stretch of a small fleet or to single instances of it, in any order, and does them to
// model as well.
func drawBatch(t *rapid.T, endpoints []*endpoint, model map[dynmesh.InstanceKey]string) []change {
	var batch []change
	for range rapid.IntRange(0, 6).Draw(t, "runs") {
		e := rapid.SampledFrom(endpoints).Draw(t, "endpoint")
		first := rapid.IntRange(0, 40).Draw(t, "first")
		run := rapid.SampledFrom([]int{1, 1, 2, 5, 40}).Draw(t, "run")
		version := rapid.IntRange(0, 2).Draw(t, "version")
		gone := rapid.Bool().Draw(t, "gone")
		for id := range run {
			k := dynmesh.InstanceKey{Endpoint: e.Endpoint, ID: dynmesh.InstanceID(first + id)}
			json := dynmesh.Instance{InstanceKey: k, Transport: raw(fmt.Sprint(version))}.AppendJSON(nil)
			batch = append(batch, change{newRecord(e, k.ID, json), gone})
			if gone {
				delete(model, k)
			} else {
				model[k] = string(json)
			}
		}
	}
	return latest(batch)
}

// The model is a map: whatever batches come, the chunks hold the map's content in order.
func TestSpliceModel(t *testing.T) {
	endpoints := threeEndpoints()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(4, 24).Draw(t, "size")
		var chunks []*chunk
		model := map[dynmesh.InstanceKey]string{}
		for range rapid.IntRange(1, 8).Draw(t, "batches") {
			old, were := slices.Clone(chunks), maps.Clone(model)
			spliced, changed := splice(chunks, drawBatch(t, endpoints, model), size)
			if !slices.Equal(old, chunks) || checkChunks(old, size) != nil {
				t.Fatal("splice wrote into its input, which a page may hold")
			}
			if changed == maps.Equal(were, model) {
				t.Fatalf("got changed %v, want %v", changed, !changed)
			}
			if !changed {
				continue
			}
			chunks = spliced
			if err := checkChunks(chunks, size); err != nil {
				t.Fatal(err)
			}
			got := map[dynmesh.InstanceKey]string{}
			for _, c := range chunks {
				for _, r := range c.records {
					got[dynmesh.InstanceKey{Endpoint: r.endpoint.Endpoint, ID: r.id}] = string(r.json)
				}
			}
			if !maps.Equal(got, model) {
				t.Fatalf("got %v, want %v", got, model)
			}
		}
	})
}

func TestChangesTouchTheirChunksOnly(t *testing.T) {
	e := threeEndpoints()[0]
	put := func(id int, json string) change {
		return change{record: newRecord(e, dynmesh.InstanceID(id), []byte(json))}
	}
	gone := func(id int) change { return change{record: newRecord(e, dynmesh.InstanceID(id), nil), gone: true} }
	const n = 40 * chunkSize
	var all []change
	for id := range n {
		all = append(all, put(2*id+2, "0"))
	}
	full, _ := splice(nil, all, chunkSize)
	if len(full) != 40 {
		t.Fatalf("got %d chunks of %d records, want 40", len(full), n)
	}
	for _, tt := range []struct {
		name    string
		changes []change
		fresh   int // chunks that are not among the old ones
	}{
		{"before all, which splits", []change{put(1, "1")}, 2},
		{"first replaced", []change{put(2, "1")}, 1},
		{"inside, which splits", []change{put(n+1, "1")}, 2},
		{"inside, replaced", []change{put(n, "1")}, 1},
		{"inside, gone", []change{gone(n)}, 1},
		{"a chunk's first gone", []change{gone(2*chunkSize + 2)}, 1},
		{"after all, which splits", []change{put(2*n+1, "1")}, 2},
		{"two far apart", []change{put(4, "1"), put(n, "1")}, 2},
		{"one of two without effect", []change{put(4, "0"), put(n, "1")}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			chunks, changed := splice(full, tt.changes, chunkSize)
			if !changed {
				t.Fatal("got no change")
			}
			if err := checkChunks(chunks, chunkSize); err != nil {
				t.Error(err)
			}
			fresh := 0
			for _, c := range chunks {
				if !slices.Contains(full, c) {
					fresh++
				}
			}
			if fresh != tt.fresh {
				t.Errorf("got %d new chunks, want %d", fresh, tt.fresh)
			}
		})
	}
}

// A fleet that shrinks instance by instance ends in few chunks, from whichever side it does.
func TestShrinkingJoinsChunks(t *testing.T) {
	e := threeEndpoints()[0]
	const n, size = 640, 16
	for _, tt := range []struct {
		name string
		at   func(left int) int // which of those that are left goes
	}{
		{"first", func(int) int { return 0 }},
		{"last", func(left int) int { return left - 1 }},
		{"middle", func(left int) int { return left / 2 }},
		{"all over", func(left int) int { return 7919 % left }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var all []change
			for id := range n {
				all = append(all, change{record: newRecord(e, dynmesh.InstanceID(id), []byte("x"))})
			}
			chunks, _ := splice(nil, all, size)
			for left := n; left > 0; left-- {
				i := tt.at(left)
				chunks, _ = splice(chunks, []change{{record: all[i].record, gone: true}}, size)
				all = slices.Delete(all, i, i+1)
				if err := checkChunks(chunks, size); err != nil {
					t.Fatalf("%d left: %v", left-1, err)
				}
			}
			if len(chunks) != 0 {
				t.Errorf("got %d chunks of nothing", len(chunks))
			}
		})
	}
}
