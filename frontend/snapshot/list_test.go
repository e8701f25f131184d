package snapshot

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A pair orders by two parts, as instances of several endpoints do.
type pair struct{ major, minor int }

func (p pair) compare(o pair) int {
	if p.major != o.major {
		return p.major - o.major
	}
	return p.minor - o.minor
}

type (
	pairs = list[pair, int]
	model = map[pair]string
)

// put returns a change whose value tells the JSON, so that one is found without the other.
func put(k pair, version int) change[pair, int] {
	return change[pair, int]{entry: entry[pair, int]{k, version, fmt.Append(nil, version)}}
}

func remove(k pair) change[pair, int] {
	return change[pair, int]{entry: entry[pair, int]{key: k}, removed: true}
}

// check says what is wrong with a list whose chunks have at most size entries.
func check(l pairs, size int) error {
	var before *pair
	n := 0
	for i, c := range l.chunks {
		if n := len(c.elements); n == 0 || n > size || n < size/4 && len(l.chunks) > 1 {
			return fmt.Errorf("chunk %d of %d: got %d entries, want %d to %d", i, len(l.chunks), n, size/4, size)
		}
		var json []byte
		for at := range c.elements {
			e := c.at(at)
			if before != nil && before.compare(e.key) >= 0 {
				return fmt.Errorf("chunk %d: got %v after %v", i, e.key, *before)
			}
			before = &e.key
			if string(e.json) != fmt.Sprint(e.value) {
				return fmt.Errorf("chunk %d: got %s and %d for %v", i, e.json, e.value, e.key)
			}
			json = fmt.Appendf(json, ",%s", e.json)
			n++
		}
		if !bytes.Equal(c.json, json) {
			return fmt.Errorf("chunk %d: got %s, want %s", i, c.json, json)
		}
	}
	if n != l.len {
		return fmt.Errorf("got a length of %d, want %d", l.len, n)
	}
	return nil
}

func content(l pairs) model {
	m := model{}
	for _, c := range l.chunks {
		for i := range c.elements {
			m[c.at(i).key] = string(c.at(i).json)
		}
	}
	return m
}

// drawBatch draws changes to one stretch of a small list or to single entries of it, in any order,
// and does them to m as well.
func drawBatch(t *rapid.T, m model) *batch[pair, int] {
	b := &batch[pair, int]{}
	for range rapid.IntRange(0, 6).Draw(t, "runs") {
		major := rapid.IntRange(0, 2).Draw(t, "major")
		first := rapid.IntRange(0, 40).Draw(t, "first")
		run := rapid.SampledFrom([]int{1, 1, 2, 5, 40}).Draw(t, "run")
		version := rapid.IntRange(0, 2).Draw(t, "version")
		gone := rapid.Bool().Draw(t, "gone")
		for minor := first; minor < first+run; minor++ {
			k := pair{major, minor}
			if gone {
				b.remove(k)
				delete(m, k)
			} else {
				b.put(k, version, func(dst []byte) []byte { return fmt.Append(dst, version) })
				m[k] = fmt.Sprint(version)
			}
		}
	}
	return b
}

// The model is a map: whatever batches come, the list holds the map's content in order, tells what
// has changed, shares what has not, and counts what it does not share.
func TestListModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(4, 24).Draw(t, "size")
		var l pairs
		m := model{}
		for range rapid.IntRange(1, 8).Draw(t, "batches") {
			old, were := slices.Clone(l.chunks), maps.Clone(m)
			edited := maps.Clone(m)
			next, replaced, changed := drawBatch(t, m).applyTo(l, size, func(k pair, was, is []byte) {
				if string(was) != edited[k] {
					t.Fatalf("%v: told that it was %q, want %q", k, was, edited[k])
				}
				edited[k] = string(is)
				if is == nil {
					delete(edited, k)
				}
			})
			if !slices.Equal(old, l.chunks) || check(l, size) != nil {
				t.Fatal("splice wrote into its input, which a snapshot may hold")
			}
			if changed == maps.Equal(were, m) {
				t.Fatalf("got changed %v, want %v", changed, !changed)
			}
			if err := check(next, size); err != nil {
				t.Fatal(err)
			}
			if got := content(next); !maps.Equal(got, m) || !maps.Equal(edited, m) {
				t.Fatalf("got %v, by what was told %v, want %v", got, edited, m)
			}
			unshared := 0
			for _, c := range l.chunks {
				if !slices.Contains(next.chunks, c) {
					unshared += len(c.json)
				}
			}
			if replaced < unshared {
				t.Fatalf("counted %d bytes that were replaced, want %d", replaced, unshared)
			}
			checkDiff(t, l, next, were, m)
			l = next
		}
	})
}

// checkDiff checks what diff says of two lists.
func checkDiff(t *rapid.T, old, now pairs, were, m model) {
	changed, gone := diff(old, now)
	got := maps.Clone(were)
	for _, e := range changed {
		if json, there := got[e.key]; there && json == string(e.json) {
			t.Fatalf("%v is as it was", e.key)
		}
		got[e.key] = string(e.json)
	}
	for _, e := range gone {
		if _, there := got[e.key]; !there {
			t.Fatalf("%v is gone and was not there", e.key)
		}
		delete(got, e.key)
	}
	if !maps.Equal(got, m) {
		t.Fatalf("got %v, want %v", got, m)
	}
}

func TestFind(t *testing.T) {
	var changes []change[pair, int]
	for n := range 40 {
		changes = append(changes, put(pair{0, 2 * n}, n))
	}
	l, _, _ := (pairs{}).splice(changes, 8, nil)
	for n := -1; n < 82; n++ {
		e, ok := l.find(pair{0, n})
		if want := n >= 0 && n%2 == 0 && n < 80; ok != want || ok && e.value != n/2 {
			t.Errorf("%d: got %v, %v, want %v", n, e.value, ok, want)
		}
	}
	if _, ok := (pairs{}).find(pair{}); ok {
		t.Error("found something in nothing")
	}
}

func TestChangesTouchTheirChunksOnly(t *testing.T) {
	const size = 256
	const n = 40 * size
	var all []change[pair, int]
	for i := range n {
		all = append(all, put(pair{0, 2*i + 2}, 0))
	}
	at := func(minor int) pair { return pair{0, minor} }
	full, _, _ := (pairs{}).splice(all, size, nil)
	if len(full.chunks) != 40 {
		t.Fatalf("got %d chunks of %d entries, want 40", len(full.chunks), n)
	}
	for _, tt := range []struct {
		name    string
		changes []change[pair, int]
		fresh   int // chunks that are not among the old ones
	}{
		{"before all, which splits", []change[pair, int]{put(at(1), 1)}, 2},
		{"first replaced", []change[pair, int]{put(at(2), 1)}, 1},
		{"inside, which splits", []change[pair, int]{put(at(n+1), 1)}, 2},
		{"inside, replaced", []change[pair, int]{put(at(n), 1)}, 1},
		{"inside, gone", []change[pair, int]{remove(at(n))}, 1},
		{"a chunk's first gone", []change[pair, int]{remove(at(2*size + 2))}, 1},
		{"after all, which splits", []change[pair, int]{put(at(2*n+1), 1)}, 2},
		{"two far apart", []change[pair, int]{put(at(4), 1), put(at(n), 1)}, 2},
		{"one of two without effect", []change[pair, int]{put(at(4), 0), put(at(n), 1)}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, _, changed := full.splice(tt.changes, size, nil)
			if !changed {
				t.Fatal("got no change")
			}
			if err := check(l, size); err != nil {
				t.Error(err)
			}
			fresh := 0
			for _, c := range l.chunks {
				if !slices.Contains(full.chunks, c) {
					fresh++
				}
			}
			if fresh != tt.fresh {
				t.Errorf("got %d new chunks, want %d", fresh, tt.fresh)
			}
		})
	}
	same, replaced, changed := full.splice([]change[pair, int]{put(at(4), 0), remove(at(5))}, size, nil)
	if changed || replaced != 0 || !slices.Equal(same.chunks, full.chunks) {
		t.Error("got another list of changes that change nothing")
	}
}

// A list that shrinks entry by entry ends in few chunks, from whichever side it does.
func TestShrinkingJoinsChunks(t *testing.T) {
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
			var all []change[pair, int]
			for i := range n {
				all = append(all, put(pair{0, i}, 7))
			}
			l, _, _ := (pairs{}).splice(all, size, nil)
			for left := n; left > 0; left-- {
				i := tt.at(left)
				l, _, _ = l.splice([]change[pair, int]{remove(all[i].key)}, size, nil)
				all = slices.Delete(all, i, i+1)
				if err := check(l, size); err != nil {
					t.Fatalf("%d left: %v", left-1, err)
				}
			}
			if len(l.chunks) != 0 {
				t.Errorf("got %d chunks of nothing", len(l.chunks))
			}
		})
	}
}
