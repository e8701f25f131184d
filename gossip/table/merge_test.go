package table_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// reader is a member that says nothing.
var reader = dynmesh.Observer{ID: 1 << 60, Epoch: 1}

// A crafted message comes from a small world, so that everything in it collides: epochs, floors,
// sequences, even different bytes under the same sequence.
func crafted() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		var entries []table.Entry
		for range rapid.IntRange(1, 6).Draw(t, "entries") {
			o := dynmesh.Observer{ID: dynmesh.InstanceID(rapid.IntRange(1, 2).Draw(t, "observer")), Epoch: rapid.Uint64Range(1, 2).Draw(t, "epoch")}
			floor := rapid.SampledFrom([]uint64{0, 0, 0, 1, 2, 3, 4, 5, 6}).Draw(t, "floor")
			s := dynmesh.Subject{ID: dynmesh.InstanceID(rapid.IntRange(1, 3).Draw(t, "subject"))}
			if rapid.Bool().Draw(t, "endpoint") {
				s.Endpoint = generate
			}
			seq := rapid.Uint64Range(1, 6).Draw(t, "seq")
			f := &dynmesh.Report{Kind: dynmesh.KindPath, Finding: dynmesh.Pass, Detail: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "detail")}
			if s.ID == o.ID {
				f.Kind = dynmesh.KindCanary
			}
			if rapid.IntRange(0, 3).Draw(t, "withdrawn") == 0 {
				f = nil
			}
			entries = append(entries, table.Crafted(o, floor, s, seq, table.Encode(seq, f)))
		}
		return table.Pack(entries, table.MaxBatch)[0]
	})
}

func merged(t testing.TB, parts ...[][]byte) *table.Table {
	return mergedInto(t, newTable(reader), parts...)
}

func mergedInto(t testing.TB, tb *table.Table, parts ...[][]byte) *table.Table {
	for _, p := range parts {
		mustMerge(t, tb, p...)
	}
	return tb
}

func standing(tb *table.Table) map[dynmesh.ObservationKey]dynmesh.Observation {
	all := map[dynmesh.ObservationKey]dynmesh.Observation{}
	for o := range tb.All() {
		all[o.Key()] = o
	}
	return all
}

func equal(a, b *table.Table) bool {
	return a.Digest() == b.Digest() && maps.Equal(standing(a), standing(b))
}

func TestMergeLaws(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		messages := rapid.SliceOfN(crafted(), 1, 6)
		x, y, z := messages.Draw(rt, "x"), messages.Draw(rt, "y"), messages.Draw(rt, "z")
		all := merged(t, x, y, z)

		if !equal(all, merged(t, rapid.Permutation(slices.Concat(x, y, z)).Draw(rt, "order"))) {
			rt.Fatal("merge does not commute")
		}
		xy, yz := everything(merged(t, x, y)), everything(merged(t, y, z))
		if left, right := merged(t, xy, z), merged(t, x, yz); !equal(left, right) || !equal(left, all) {
			rt.Fatal("merge is not associative")
		}
		before := standing(all)
		again := mustMerge(t, all, slices.Concat(y, xy, everything(all))...)
		if len(again.Set)+len(again.Withdrawn)+len(again.Entries) > 0 || !maps.Equal(before, standing(all)) {
			rt.Fatalf("merge is not idempotent: %v", again)
		}
		if !equal(all, merged(t, everything(all))) {
			rt.Fatal("what a table sends is not what it holds")
		}
	})
}

// Whoever follows only the changes knows what the table knows, and whoever merges only the entries
// that a table passes on as well.
func TestChangesTellTheWholeTable(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tb, relay := newTable(reader), newTable(reader)
		follows := map[dynmesh.ObservationKey]dynmesh.Observation{}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			var c table.Changes
			switch o := (dynmesh.Observer{ID: 1, Epoch: rapid.Uint64Range(1, 2).Draw(rt, "epoch")}); rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0:
				c = tb.Forget(o, clock(100))
				relay.Forget(o, clock(100)) // it is not passed on
			case 1:
				tb.Recall(o)
				relay.Recall(o)
			default:
				c = mustMerge(t, tb, crafted().Draw(rt, "message"))
			}
			for _, k := range c.Withdrawn {
				if _, ok := follows[k]; !ok {
					rt.Fatalf("%v is withdrawn and never stood", k)
				}
				delete(follows, k)
			}
			for _, o := range c.Set {
				follows[o.Key()] = o
			}
			mustMerge(t, relay, table.Pack(c.Entries, table.MaxPacket)...)
			now := standing(tb)
			for k, o := range now { // what is said again in other words only has another place
				f := follows[k]
				if f.Seq = o.Seq; f != o {
					rt.Fatalf("changes told %v, the table holds %v", f, o)
				}
			}
			if len(now) != len(follows) {
				rt.Fatalf("changes told %v, the table holds %v", follows, now)
			}
			if !equal(tb, relay) {
				rt.Fatalf("a relay holds %v, not %v", standing(relay), now)
			}
			if d, s, ok := tb.Counted(); d != tb.Digest() || s != tb.Stats() || !ok {
				rt.Fatalf("digest or stats %+v are not those of what is held: %+v", tb.Stats(), s)
			}
		}
	})
}

func TestStructuralOwnership(t *testing.T) {
	self := dynmesh.Observer{ID: 7, Epoch: 5}
	other := dynmesh.Observer{ID: 8, Epoch: 5}
	for _, c := range []struct {
		name    string
		by      dynmesh.Observer
		subject dynmesh.InstanceID
		kind    dynmesh.Kind
		finding dynmesh.Finding
		want    table.Cause
		taken   bool
	}{
		{"canary of itself", other, 8, dynmesh.KindCanary, dynmesh.Pass, 0, true},
		{"canary of another", other, 9, dynmesh.KindCanary, dynmesh.Pass, table.CauseNotOwner, false},
		{"traffic of itself", other, 8, dynmesh.KindTraffic, dynmesh.Busy, 0, true},
		{"traffic of another", other, 9, dynmesh.KindTraffic, dynmesh.Busy, table.CauseNotOwner, false},
		{"process of itself", other, 8, dynmesh.KindProcess, dynmesh.Pass, 0, true},
		{"process of another", other, 9, dynmesh.KindProcess, dynmesh.Pass, table.CauseNotOwner, false},
		{"path of itself", other, 8, dynmesh.KindPath, dynmesh.Pass, table.CauseNotOwner, false},
		{"path of another", other, 9, dynmesh.KindPath, dynmesh.Fail, 0, true},
		{"path of this member", other, 7, dynmesh.KindPath, dynmesh.Fail, 0, true},
		{"measure of a whole process", other, 8, dynmesh.KindMeasure, dynmesh.Pass, table.CauseNotOwner, false},
		{"a kind to come, of itself", other, 8, 77, dynmesh.Pass, 0, true},
		{"a kind to come, of another", other, 9, 77, dynmesh.Pass, 0, true},
		{"under our name", self, 7, dynmesh.KindCanary, dynmesh.Pass, table.CauseForged, false},
		{"under our name, of a former life", dynmesh.Observer{ID: 7, Epoch: 4}, 7, dynmesh.KindCanary, dynmesh.Pass, table.CauseStaleSelf, false},
		{"under our name, of a later life", dynmesh.Observer{ID: 7, Epoch: 6}, 7, dynmesh.KindCanary, dynmesh.Pass, table.CauseForged, false},
		{"of nobody", other, 0, dynmesh.KindPath, dynmesh.Pass, table.CauseMalformed, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			tb := newTable(self)
			before := tb.Digest()
			e := table.Crafted(c.by, 0, dynmesh.Subject{ID: c.subject}, 3, table.Encode(3, &dynmesh.Report{Kind: c.kind, Finding: c.finding}))
			got := mustMerge(t, tb, table.Pack([]table.Entry{e}, table.MaxBatch)...)
			var want table.Ignored
			if !c.taken {
				want[c.want] = 1
			}
			if got.Ignored != want || (len(got.Set) == 1) != c.taken {
				t.Errorf("set %v, ignored %v, want %v, %v", got.Set, got.Ignored, c.taken, want)
			}
			if _, stands := tb.Get(c.by.ID, dynmesh.Subject{ID: c.subject}); stands != c.taken {
				t.Errorf("stands %v, want %v", stands, c.taken)
			}
			if c.by.ID == self.ID && tb.Digest() != before {
				t.Error("our own name was written under by another")
			}
		})
	}
}

func TestLaterLifeReplacesTheFormer(t *testing.T) {
	first, second := newTable(dynmesh.Observer{ID: 7, Epoch: 1}), newTable(dynmesh.Observer{ID: 7, Epoch: 2})
	c := mustObserve(t, first, own(7, dynmesh.Pass))
	tb := merged(t, everything(first))
	got := mustMerge(t, tb, everything(second)...)
	if len(got.Withdrawn) != 1 || got.Withdrawn[0] != c.Set[0].Key() || len(got.Entries) != 1 {
		t.Fatalf("the later life begins: %+v", got)
	}
	relay := merged(t, everything(first), table.Pack(got.Entries, table.MaxPacket))
	if !equal(tb, relay) {
		t.Fatal("that a life is over was not passed on")
	}
	got = mustMerge(t, tb, everything(first)...)
	if len(got.Set) > 0 || got.Ignored[table.CauseSuperseded] != 1 {
		t.Fatalf("the former life is back: %+v", got)
	}
}

// All members drop the same of what is too much, in whatever order it comes.
func TestTooManyEntriesOfOneObserver(t *testing.T) {
	const extra = 40
	o := dynmesh.Observer{ID: 5, Epoch: 1}
	f := &dynmesh.Report{Kind: dynmesh.KindPath, Finding: dynmesh.Pass}
	var entries []table.Entry
	for i := range uint64(table.MaxEntries + extra) {
		entries = append(entries, table.Crafted(o, 0, dynmesh.Subject{ID: dynmesh.InstanceID(10 + i)}, 1+i, table.Encode(1+i, f)))
	}
	a := merged(t, table.Pack(entries, table.MaxBatch))
	slices.Reverse(entries)
	b := merged(t, table.Pack(entries, table.MaxBatch))
	if !equal(a, b) {
		t.Error("what is kept depends on the order")
	}
	if n := a.Stats().Observations; n != table.MaxEntries {
		t.Errorf("%d are kept, want %d", n, table.MaxEntries)
	}
	if _, ok := a.Get(5, dynmesh.Subject{ID: 10 + extra - 1}); ok {
		t.Error("what was said longest ago is kept")
	}
	if _, ok := a.Get(5, dynmesh.Subject{ID: 10 + extra}); !ok {
		t.Error("more is dropped than is too much")
	}
}

func TestTooManyObservers(t *testing.T) {
	tb := newTable(reader)
	var entries []table.Entry
	for i := range table.MaxObservers + 2 {
		entries = append(entries, table.Crafted(dynmesh.Observer{ID: dynmesh.InstanceID(i + 1), Epoch: 1}, 0, dynmesh.Subject{}, 0, nil))
	}
	got := mustMerge(t, tb, table.Pack(entries, table.MaxBatch)...)
	if n := tb.Stats().Observers; n != table.MaxObservers || got.Ignored[table.CauseFull] != 3 {
		t.Errorf("%d observers, %d ignored", n, got.Ignored[table.CauseFull])
	}
	tb.Forget(dynmesh.Observer{ID: 1, Epoch: 1}, clock(1))
	got = mustMerge(t, tb, table.Pack(entries[len(entries)-1:], table.MaxBatch)...)
	if got.Ignored[table.CauseFull] != 0 {
		t.Error("there is no room though one was forgotten")
	}
}

func TestTooManyBytes(t *testing.T) {
	tb := newTable(reader)
	big := make([]byte, table.MaxEntry-100)
	raw := func(seq uint64) []byte {
		return append(table.Encode(seq, &dynmesh.Report{Kind: dynmesh.KindPath, Finding: dynmesh.Pass}), unknownField(99, big)...)
	}
	full := 0
	for id := 1; full == 0; id++ {
		o := dynmesh.Observer{ID: dynmesh.InstanceID(id), Epoch: 1}
		var entries []table.Entry
		for i := range uint64(7) {
			entries = append(entries, table.Crafted(o, 0, dynmesh.Subject{ID: dynmesh.InstanceID(1<<40 + i)}, i+1, raw(i+1)))
		}
		full = mustMerge(t, tb, table.Pack(entries, 120<<10)...).Ignored[table.CauseFull]
	}
	if size := tb.Stats().Size; size > table.MaxSize || size < table.MaxSize-2*table.MaxEntry {
		t.Errorf("size is %d, the bound %d", size, table.MaxSize)
	}
	for i := range 2 * table.MaxEntry / 256 { // what is our own is always taken, so the table is above its bound now
		mustObserve(t, tb, dynmesh.Report{Subject: dynmesh.Subject{ID: dynmesh.InstanceID(i + 1)}, Kind: dynmesh.KindPath, Finding: dynmesh.Pass})
	}
	o := dynmesh.Observer{ID: 1, Epoch: 1}
	s := dynmesh.Subject{ID: 1 << 40}
	got := mustMerge(t, tb, table.Pack([]table.Entry{table.Crafted(o, 0, s, 50, table.Encode(50, nil))}, table.MaxBatch)...)
	if fmt.Sprint(got.Withdrawn) != fmt.Sprint([]dynmesh.ObservationKey{{Observer: o, Subject: s}}) {
		t.Errorf("a full table does not take a withdrawal: %+v", got)
	}
}

// Who has gone mad has ever new endpoints, and their names take more room than what is said of
// them.
func TestLongNamesCount(t *testing.T) {
	tb := newTable(reader)
	o := dynmesh.Observer{ID: 1, Epoch: 1}
	name := strings.Repeat("x", table.MaxName-10)
	var entries []table.Entry
	for i := range uint64(100) {
		s := dynmesh.Subject{ID: 1, Endpoint: dynmesh.Endpoint{Namespace: name, Name: fmt.Sprint(i)}}
		entries = append(entries, table.Crafted(o, 0, s, i+1, table.Encode(i+1, &dynmesh.Report{Kind: dynmesh.KindCanary, Finding: dynmesh.Pass})))
	}
	mustMerge(t, tb, table.Pack(entries, 120<<10)...)
	if size := tb.Stats().Size; size < 100*len(name) {
		t.Errorf("100 endpoints with names of %d bytes count as %d bytes", len(name), size)
	}
	if mustMerge(t, tb, table.Pack([]table.Entry{table.Crafted(dynmesh.Observer{ID: 1, Epoch: 2}, 0, dynmesh.Subject{}, 0, nil)}, 120<<10)...); tb.Stats().Size != 0 {
		t.Errorf("an empty table counts as %d bytes", tb.Stats().Size)
	}
}

func TestOwnFloorIsOurs(t *testing.T) {
	tb := newTable(dynmesh.Observer{ID: 7, Epoch: 1})
	mustObserve(t, tb, own(7, dynmesh.Pass))
	before := tb.Digest()
	e := table.Crafted(tb.Self(), 2, dynmesh.Subject{}, 0, nil)
	if c := mustMerge(t, tb, table.Pack([]table.Entry{e}, table.MaxBatch)...); c.Ignored[table.CauseForged] != 1 || tb.Digest() != before {
		t.Errorf("a floor that we did not raise: %+v", c)
	}
}

func TestLongEntriesGetMessagesOfTheirOwn(t *testing.T) {
	f := &dynmesh.Report{Kind: dynmesh.KindPath, Finding: dynmesh.Pass}
	var entries []table.Entry
	for i := range uint64(4) {
		long := unknownField(99, make([]byte, i%2*5000))
		entries = append(entries, table.Crafted(reader, 0, dynmesh.Subject{ID: 5 + dynmesh.InstanceID(i)}, i+1, append(table.Encode(i+1, f), long...)))
	}
	sent := table.Pack(entries, 1000)
	if tb := newTable(dynmesh.Observer{ID: 1, Epoch: 1}); len(mustMerge(t, tb, sent...).Set) != 4 || len(sent) != 4 {
		t.Errorf("%d messages, %v", len(sent), standing(tb))
	}
}

// memberlist uses the memory of a message again.
func TestMergeKeepsNothingOfTheMessage(t *testing.T) {
	all := everything(goldenTable(t))
	tb := merged(t, all)
	before := standing(tb)
	for _, m := range all {
		for i := range m {
			m[i] = 0xee
		}
	}
	if _, _, ok := tb.Counted(); !ok || !maps.Equal(standing(tb), before) {
		t.Errorf("the table holds %v", standing(tb))
	}
}

func TestEntriesThatNoOneCouldReplaceAreRefused(t *testing.T) {
	o := dynmesh.Observer{ID: 5, Epoch: 1}
	f := &dynmesh.Report{Kind: dynmesh.KindProcess, Finding: dynmesh.Pass}
	for name, e := range map[string]table.Entry{
		"without a sequence": table.Crafted(o, 0, dynmesh.Subject{ID: 5}, 0, table.Encode(0, f)),
		"the last sequence":  table.Crafted(o, 0, dynmesh.Subject{ID: 5}, math.MaxUint64, table.Encode(math.MaxUint64, f)),
		"too long":           table.Crafted(o, 0, dynmesh.Subject{ID: 5}, 1, append(table.Encode(1, f), unknownField(99, make([]byte, table.MaxEntry))...)),
	} {
		tb := newTable(reader)
		if c := mustMerge(t, tb, table.Pack([]table.Entry{e}, table.MaxBatch)...); len(c.Set) > 0 || c.Ignored[table.CauseMalformed] != 1 {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// One part of a message may raise the watermark above what a later part says anew: that stands, and
// is not withdrawn.
func TestWhatAMessageSaysAnewIsNotWithdrawn(t *testing.T) {
	o, s := dynmesh.Observer{ID: 5, Epoch: 1}, dynmesh.Subject{ID: 5}
	part := func(watermark, seq uint64, f *dynmesh.Report) []byte {
		var raw []byte
		if seq > 0 {
			raw = table.Encode(seq, f)
		}
		return table.Pack([]table.Entry{table.Crafted(o, watermark, s, seq, raw)}, table.MaxBatch)[0]
	}
	pass := &dynmesh.Report{Kind: dynmesh.KindProcess, Finding: dynmesh.Pass}
	for name, now := range map[string]*dynmesh.Report{
		"the same":       pass,
		"something else": {Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true},
		"a withdrawal":   nil,
	} {
		tb := newTable(reader)
		mustMerge(t, tb, part(0, 1, pass))
		c := mustMerge(t, tb, append(part(2, 0, nil), part(0, 2, now)[2:]...))
		stands := now != nil
		if len(c.Set) == 1 != stands || len(c.Withdrawn) == 0 != stands || len(standing(tb)) == 1 != stands {
			t.Errorf("%s: set %v, withdrawn %v, and the table holds %v", name, c.Set, c.Withdrawn, standing(tb))
		}
	}
}
