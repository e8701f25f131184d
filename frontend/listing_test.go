package frontend

import (
	"maps"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
)

// wantBody joins the answer from its parts.
func wantBody(model map[dynmesh.InstanceKey]string) string {
	if len(model) == 0 {
		return emptyBody
	}
	var names, instances []string
	for _, k := range slices.SortedFunc(maps.Keys(model), dynmesh.InstanceKey.Compare) {
		names = append(names, `"`+k.Endpoint.String()+`"`)
		instances = append(instances, model[k])
	}
	slices.Sort(names)
	return `{"endpoints":[` + strings.Join(slices.Compact(names), ",") + `],"instances":[` + strings.Join(instances, ",") + `],"status":"healthy"}`
}

// A listing's bytes and tag follow from the set of its instances alone: not from the way there, nor from where the chunks
// begin. So all frontends give the same answer under the same tag. And no two answers share a tag.
func TestListingModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		endpoints := threeEndpoints()
		model := map[dynmesh.InstanceKey]string{}
		l := newListing(nil, nil)
		tags := map[string]string{text(l.plain): l.plain.etag}
		for range rapid.IntRange(1, 8).Draw(t, "batches") {
			size := rapid.IntRange(4, 12).Draw(t, "size")
			chunks, changed := splice(l.chunks, drawBatch(t, endpoints, model), size)
			if !changed {
				continue
			}
			l = newListing(chunks, l)
			want := wantBody(model)
			if got := text(l.plain); got != want || l.plain.size != len(want) || l.instances != len(model) {
				t.Fatalf("got  %d instances, %d bytes: %s\nwant %d instances, %d bytes: %s",
					l.instances, l.plain.size, got, len(model), len(want), want)
			}
			counts := map[dynmesh.Endpoint]int{}
			for k := range model {
				counts[k.Endpoint]++
			}
			for _, e := range l.endpoints {
				if e.instances != counts[e.Endpoint] {
					t.Fatalf("got %d instances of %s, want %d", e.instances, e.name, counts[e.Endpoint])
				}
			}
			other := fromScratch(model)
			if got := text(other.plain); got != want || other.plain.etag != l.plain.etag {
				t.Fatalf("from scratch: got  %s %s\nwant %s %s", other.plain.etag, got, l.plain.etag, want)
			}
			tags[want] = l.plain.etag
		}
		unique := slices.Compact(slices.Sorted(maps.Values(tags)))
		if len(unique) != len(tags) {
			t.Fatalf("got %d tags for %d answers", len(unique), len(tags))
		}
	})
}

// fromScratch is what another frontend makes of the same instances: they come to it in another order.
func fromScratch(model map[dynmesh.InstanceKey]string) *listing {
	endpoints := map[dynmesh.Endpoint]*endpoint{}
	var all []change
	for k, json := range model {
		if endpoints[k.Endpoint] == nil {
			endpoints[k.Endpoint] = newEndpoint(k.Endpoint)
		}
		all = append(all, change{record: newRecord(endpoints[k.Endpoint], k.ID, []byte(json))})
	}
	l := newListing(nil, nil)
	for len(all) > 0 {
		n := 1 + rand.Intn(len(all))
		l = l.apply(latest(all[:n]))
		all = all[n:]
	}
	return l
}

// In JSON these names look the same, so all that tells the two listings apart is which instance comes first.
func TestTagsTellOrdersApart(t *testing.T) {
	page := func(first, second string) *body {
		r := newRegistry(quiet(), func(_, _ *page) {})
		r.take(synced(
			dynmesh.Instance{InstanceKey: key("a\xfe", "b", "c", 1), Transport: raw(first)},
			dynmesh.Instance{InstanceKey: key("a\xff", "b", "c", 1), Transport: raw(second)},
		))
		r.render()
		return r.page.Load().plain
	}
	a, b := page(`{"http":"1"}`, `{"http":"2"}`), page(`{"http":"2"}`, `{"http":"1"}`)
	if text(a) == text(b) || len(text(a)) != len(text(b)) {
		t.Fatalf("got\n%s\n%s\nwant the same instances in two orders", text(a), text(b))
	}
	if a.etag == b.etag {
		t.Errorf("got tag %s for both", a.etag)
	}
}

func TestOneChangeSharesTheRestOfTheBody(t *testing.T) {
	r := filled(largeFleet)
	old := r.page.Load()
	r.take(synced(httpInstance(key("dynamo", "backend-4", "generate", 1))))
	r.render()
	now := r.page.Load()
	shared := map[*byte]bool{}
	for _, s := range old.plain.segments {
		shared[&s[0]] = true
	}
	fresh := 0
	for _, s := range now.plain.segments {
		if !shared[&s[0]] {
			fresh += len(s)
		}
	}
	if limit := now.plain.size / 20; fresh == 0 || fresh > limit {
		t.Errorf("got %d new bytes of %d, want at most %d", fresh, now.plain.size, limit)
	}
}
