package table_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// path is an entry about another member; all of one detail are of one length.
func path(observer, subject dynmesh.InstanceID, seq uint64, detail string) table.Entry {
	f := &dynmesh.Report{Kind: dynmesh.KindPath, Finding: dynmesh.Fail, Detail: detail}
	return table.Crafted(dynmesh.Observer{ID: observer, Epoch: 1}, 0, dynmesh.Subject{ID: subject}, seq, table.Encode(seq, f))
}

// sent reads a message: key and sequence of what is in it.
func sent(t testing.TB, messages [][]byte) []string {
	t.Helper()
	var all []string
	for _, e := range mustMerge(t, newTable(reader), messages...).Entries {
		all = append(all, word(e))
	}
	return all
}

func word(e table.Entry) string { return fmt.Sprintf("%v %x", e.Key(), e.Raw()) }

// memberlist's own queue numbers its messages, forgets the numbers when its only message is
// replaced, and then takes two messages of one length and number for the same: one is lost
// (hashicorp/memberlist, pull request 263).
func TestNothingIsLostWhenTheOnlyMessageIsReplaced(t *testing.T) {
	var d table.BroadcastQueue
	d.Add(path(1, 100, 1, "a"))
	d.Add(path(1, 100, 2, "b")) // replaces the only one
	d.Add(path(2, 200, 1, "c")) // as long, and another one
	d.Add(path(3, 300, 1, "d"))
	got := sent(t, d.Packet(0, 1200, 3))
	want := []string{word(path(1, 100, 2, "b")), word(path(2, 200, 1, "c")), word(path(3, 300, 1, "d"))}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// Against a model: each entry goes out as often as it is meant to, unless a later one takes its
// place, and never too much at once.
func TestDirtySendsEachAsOftenAsMeant(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		members := rapid.IntRange(1, 1200).Draw(rt, "members")
		times := 4 * int(math.Ceil(math.Log10(float64(members)+1)))
		var d table.BroadcastQueue
		count := map[string]int{}
		latest := map[dynmesh.ObservationKey]string{}
		seq := uint64(0)
		take := func() bool {
			limit, overhead := rapid.IntRange(table.MaxPacket+2, 1400).Draw(rt, "limit"), rapid.IntRange(0, 2).Draw(rt, "overhead")
			messages := d.Packet(overhead, limit, members)
			total := 0
			for _, m := range messages {
				total += len(m) + overhead
			}
			if total > limit {
				rt.Fatalf("%d bytes, the limit is %d", total, limit)
			}
			words := sent(t, messages)
			least := math.MaxInt
			for _, w := range words {
				least = min(least, count[w])
			}
			for _, w := range words {
				count[w]++
			}
			for _, w := range latest { // whoever is left out was not sent less often than all who are in, unless it is long
				if len(words) > 0 && !slices.Contains(words, w) && count[w] < least && len(w) < 300 {
					rt.Fatalf("%q was sent %d times and waits, while those sent %d times go", w, count[w], least)
				}
			}
			return len(messages) > 0
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			if rapid.Bool().Draw(rt, "take") {
				take()
				continue
			}
			seq++
			e := path(dynmesh.InstanceID(rapid.IntRange(1, 5).Draw(rt, "observer")), dynmesh.InstanceID(rapid.IntRange(10, 30).Draw(rt, "subject")),
				seq, strings.Repeat("x", rapid.SampledFrom([]int{0, 1, 199}).Draw(rt, "detail")))
			d.Add(e, e)
			latest[e.Key()] = word(e)
		}
		for take() {
		}
		for _, w := range latest {
			if count[w] != times {
				rt.Fatalf("%q was sent %d times, want %d", w, count[w], times)
			}
		}
		for w, n := range count {
			if n > times {
				rt.Fatalf("%q was sent %d times, want %d at most", w, n, times)
			}
		}
		if d.Len() != 0 {
			rt.Fatalf("%d are left", d.Len())
		}
	})
}

func TestEarlierEntryDoesNotReplaceALater(t *testing.T) {
	var d table.BroadcastQueue
	d.Add(path(1, 100, 5, "later"))
	d.Add(path(1, 100, 4, "earlier"))
	later := table.Crafted(dynmesh.Observer{ID: 1, Epoch: 2}, 0, dynmesh.Subject{ID: 101}, 1, table.Encode(1, nil))
	d.Add(path(1, 101, 5, "of a former life"))
	d.Add(later)
	d.Add(path(1, 101, 6, "of a former life"))
	got := fmt.Sprint(sent(t, d.Packet(0, 1200, 3)))
	if strings.Contains(got, fmt.Sprintf("%x", "earlier")) || strings.Contains(got, fmt.Sprintf("%x", "former")) || d.Len() != 2 {
		t.Errorf("sent %s", got)
	}
}

// News never wait behind what a comparison of digests has brought.
func TestLateEntriesGoBehindTheNews(t *testing.T) {
	var d table.BroadcastQueue
	for i := range table.MaxLowPriority + 500 {
		d.AddLow(path(1, dynmesh.InstanceID(1000+i), 1, "late"))
	}
	if d.Len() != table.MaxLowPriority {
		t.Errorf("%d late ones are taken, want %d", d.Len(), table.MaxLowPriority)
	}
	for i := range 10 {
		d.Add(path(2, dynmesh.InstanceID(10+i), 1, "news"))
	}
	late := 0
	for i := 0; d.Len() > 0; i++ {
		m := d.Packet(0, 1200, 90)[0]
		if n := bytes.Count(m, []byte("news")); i < 2 && n != 10 {
			t.Errorf("%d of 10 news are in packet %d", n, i)
		}
		late += bytes.Count(m, []byte("late"))
	}
	if want := table.MaxLowPriority * 6; late != want {
		t.Errorf("late ones were sent %d times, want %d", late, want)
	}
	for i := range table.MaxLowPriority {
		d.AddLow(path(1, dynmesh.InstanceID(1000+i), 2, "late"))
		d.Add(path(1, dynmesh.InstanceID(1000+i), 3, "news")) // in its place
		d.AddLow(path(2, dynmesh.InstanceID(1000+i), 2, "late"))
	}
	if d.Len() != 2*table.MaxLowPriority {
		t.Errorf("%d wait, want %d: there is no room for late ones when those before are gone", d.Len(), 2*table.MaxLowPriority)
	}
}

// What does not fit the rest of a packet lets those behind it pass.
func TestPacketsAreFilled(t *testing.T) {
	var d table.BroadcastQueue
	for i := range 6 {
		d.Add(path(1, dynmesh.InstanceID(100+i), 1, strings.Repeat("x", 199)))
	}
	for i := range 30 {
		d.Add(path(1, dynmesh.InstanceID(200+i), 1, ""))
	}
	if m := d.Packet(0, 1200, 3)[0]; len(m) < 1150 || len(m) > 1200 {
		t.Errorf("a packet of %d bytes", len(m))
	}
}

// Once there are fewer members, what was sent often enough for them is done.
func TestFewerMembers(t *testing.T) {
	var d table.BroadcastQueue
	d.Add(path(1, 100, 1, ""))
	for range 5 {
		d.Packet(0, 1200, 1000)
	}
	d.Add(path(1, 101, 1, ""))
	if got := sent(t, d.Packet(0, 1200, 5)); len(got) != 1 || got[0] != word(path(1, 101, 1, "")) || d.Len() != 1 {
		t.Errorf("sent %q, %d are left", got, d.Len())
	}
}

func TestWhatIsTooLargeGoesApart(t *testing.T) {
	big := path(1, 100, 1, "")
	raw := append(bytes.Clone(big.Raw()), unknownField(99, make([]byte, table.MaxPacket))...)
	big = table.Crafted(big.Key().Observer, 0, big.Key().Subject, 2, raw)
	var d table.BroadcastQueue
	d.Add(big)
	d.Add(path(1, 101, 1, "small"))
	if got := sent(t, d.Packet(0, 1200, 3)); len(got) != 1 || got[0] != word(path(1, 101, 1, "small")) {
		t.Errorf("packet has %q", got)
	}
	d.Add(path(1, 100, 1, "earlier"))
	if got := sent(t, d.Oversized()); len(got) != 1 || got[0] != word(big) {
		t.Errorf("apart go %q", got)
	}
	if d.Oversized() != nil {
		t.Error("apart it goes twice")
	}
	d.Add(big)
	d.Add(path(1, 100, 3, "later, and small"))
	if got := d.Oversized(); got != nil {
		t.Errorf("apart go %q", sent(t, got))
	}
}

// Where packets are smaller than they should be, what does not fit goes apart in the end, and
// stands in nobody's way.
func TestSmallPackets(t *testing.T) {
	var d table.BroadcastQueue
	for i := range 100 {
		d.Add(path(1, dynmesh.InstanceID(100+i), 1, strings.Repeat("x", 199)))
	}
	d.Add(path(1, 500, 1, "small"))
	if got := sent(t, d.Packet(0, 150, 3)); len(got) != 1 || got[0] != word(path(1, 500, 1, "small")) {
		t.Errorf("packet has %q", got)
	}
	for range 50 {
		d.Packet(0, 150, 3)
	}
	if got := sent(t, d.Oversized()); len(got) != 100 || d.Len() != 0 {
		t.Errorf("apart go %d, %d are left", len(got), d.Len())
	}
	d.Add(path(1, 500, 1, "small"))
	if d.Packet(100, 50, 3) != nil || d.Packet(0, 0, 3) != nil || d.Len() != 1 {
		t.Error("there was no room at all")
	}
}

func TestDirtyIsBounded(t *testing.T) {
	var d table.BroadcastQueue
	d.Add(path(9, 1, 1, "old"))
	d.Packet(0, 1200, 3)
	for i := range table.MaxQueued {
		d.Add(path(1, dynmesh.InstanceID(100+i), 1, ""))
	}
	if d.Len() != table.MaxQueued {
		t.Errorf("%d wait, want %d", d.Len(), table.MaxQueued)
	}
	d.Add(path(9, 1, 1, "old"))
	if d.Len() != table.MaxQueued {
		t.Errorf("%d wait, want %d", d.Len(), table.MaxQueued)
	}
	if got := sent(t, d.Packet(0, 1200, 3)); !slices.Contains(got, word(path(1, 101, 1, ""))) || slices.Contains(got, word(path(9, 1, 1, "old"))) {
		t.Errorf("first go %q", got)
	}
}

func TestPacketsHoldEachEntryOnce(t *testing.T) {
	o := dynmesh.Observer{ID: 1, Epoch: 1}
	pass := table.Encode(1, &dynmesh.Report{Kind: dynmesh.KindPath, Finding: dynmesh.Pass})
	var entries []table.Entry
	for i := range uint64(200) {
		entries = append(entries, table.Crafted(o, 0, dynmesh.Subject{ID: dynmesh.InstanceID(i + 2)}, 1, pass))
	}
	large := table.Crafted(o, 0, dynmesh.Subject{ID: 900}, 1, append(pass, unknownField(99, make([]byte, 2000))...))
	tb, bytes := newTable(reader), 0
	for _, m := range table.Packets(append(entries, large)) {
		if len(m) > table.MaxPacket {
			t.Errorf("a packet has %d bytes", len(m))
		}
		bytes += len(m)
		mustMerge(t, tb, m)
	}
	if n := tb.Stats().Observations; n != 200 || bytes > 200*(64+table.SignatureSize) {
		t.Errorf("%d observations came in %d bytes", n, bytes)
	}
}
