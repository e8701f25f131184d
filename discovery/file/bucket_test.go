package file

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

const (
	name  = "n%2Fc%2Fe%2F1"
	value = `{"namespace":"n","component":"c","endpoint":"e","instance_id":1,"transport":{"tcp":"h:1"}}`
	other = `{"namespace":"n","component":"c","endpoint":"e","instance_id":1,"transport":{"tcp":"h:2"}}`
)

// Each step is a look at the folder, so many milliseconds after the beginning.
func TestLease(t *testing.T) {
	type look struct {
		at       int
		modified int // of the file; gone: there is none
		content  string
		want     string // transport; "": not listed; "junk": left out
	}
	const gone = -1 << 30
	const one, two = `{"tcp":"h:1"}`, `{"tcp":"h:2"}`
	for _, tt := range []struct {
		name  string
		looks []look
	}{
		{"touched every 3.3 s", []look{{0, 0, value, one}, {3400, 3300, value, one}, {6700, 6600, value, one}, {9999, 9900, value, one}, {19000, 9900, value, one}}},
		{"nobody touches it", []look{{0, 0, value, one}, {9999, 0, value, one}, {10000, 0, value, ""}, {60000, 0, value, ""}}},
		{"nobody touches it any more", []look{{0, 0, value, one}, {3400, 3300, value, one}, {13399, 3300, value, one}, {13400, 3300, value, ""}}},
		{"it ended before it was seen", []look{{20000, 0, value, ""}}},
		{"its owner was slow", []look{{0, 0, value, one}, {10000, 0, value, ""}, {12000, 11900, value, one}}},
		{"its owner's clock is 5 minutes late", []look{{0, -300000, value, ""}, {3400, -296700, value, one}, {13300, -296700, value, one}, {13400, -296700, value, ""}}},
		{"its owner's clock is 5 minutes early", []look{{0, 300000, value, one}, {9999, 300000, value, one}, {10000, 300000, value, ""}}},
		{"deleted", []look{{0, 0, value, one}, {100, gone, "", ""}, {200, 200, value, one}}},
		{"changed", []look{{0, 0, value, one}, {100, 100, other, two}}},
		{"changed in two steps", []look{{0, 0, value, one}, {100, 100, "", one}, {110, 110, other[:20], one}, {120, 120, other, two}}},
		{"new in two steps", []look{{0, 0, "", ""}, {40, 40, value, one}}},
		{"junk from the start", []look{{0, 0, "junk", ""}, {49, 0, "junk", ""}, {50, 0, "junk", "junk"}, {10000, 0, "junk", ""}}},
		{"becomes junk", []look{{0, 0, value, one}, {100, 100, "junk", one}, {150, 100, "junk", "junk"}, {200, 200, value, one}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
			after := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
			b := bucket[dynmesh.Instance]{folder: instancesFolder, decode: discovery.DecodeInstanceAt}
			var due time.Time
			var before string
			for _, l := range tt.looks {
				var files []seen
				if l.modified != gone {
					files = []seen{{name: name, modified: after(l.modified), content: l.content}}
				}
				now := after(l.at)
				entries := discovery.NewEntries()
				listed, next := b.take(files, entries, now)
				got := ""
				for _, i := range listed {
					got = string(i.Transport)
				}
				if len(entries.Rejects) > 0 {
					got = "junk"
				}
				if got != l.want {
					t.Errorf("after %d ms: %q, want %q", l.at, got, l.want)
				}
				if got == "" && before != "" && l.modified != gone && (due.IsZero() || due.After(now)) {
					t.Errorf("after %d ms: it has ended, and was to be looked at %v only", l.at, due.Sub(began))
				}
				due, before = next, got
			}
		})
	}
}

// What could not be touched while the folder was away has the whole time again.
func TestRenew(t *testing.T) {
	began := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	b := bucket[dynmesh.Instance]{folder: instancesFolder, decode: discovery.DecodeInstanceAt}
	files := []seen{{name: name, modified: began, content: value}}
	b.take(files, discovery.NewEntries(), began)
	back := began.Add(time.Minute)
	b.renew(back)
	if all, next := b.take(files, discovery.NewEntries(), back); len(all) != 1 || !next.Equal(back.Add(leaseTTL)) {
		t.Errorf("%d instances, next look %v after", len(all), next.Sub(back))
	}
	if all, _ := b.take(files, discovery.NewEntries(), back.Add(leaseTTL)); len(all) != 0 {
		t.Error("it is listed for ever")
	}
}

// Another user's file is left out, and no reason to believe nothing.
func TestDenied(t *testing.T) {
	now := time.Now()
	b := bucket[dynmesh.Instance]{folder: instancesFolder, decode: discovery.DecodeInstanceAt}
	take := func(now time.Time) int {
		entries := discovery.NewEntries()
		b.take([]seen{{name: name, modified: now, denied: true}}, entries, now)
		if why := entries.Rejects["v1/instances/n/c/e/1"]; len(entries.Rejects) == 1 && why.Reason != dynmesh.RejectFile {
			t.Errorf("left out for %q", why.Reason)
		}
		return len(entries.Rejects)
	}
	if first, later := take(now), take(now.Add(time.Second)); first != 0 || later != 1 {
		t.Errorf("%d, then %d are left out, want 0, 1", first, later)
	}
}
