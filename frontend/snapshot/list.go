package snapshot

import (
	"bytes"
	"iter"
	"slices"
)

// The keys of a list are ordered.
type ordered[K any] interface{ compare(K) int }

// list is a sorted sequence of entries, each with its part of an answer. It never changes: a change
// makes another list, which shares all chunks that the change did not touch. So the cost of one
// change among 100,000 entries is that of one chunk and of the list of chunks.
type list[K ordered[K], V any] struct {
	chunks []*chunk[K, V]
	len    int
}

// chunk is a stretch of a list. It never changes.
type chunk[K ordered[K], V any] struct {
	elements []element[K, V] // sorted; at least one
	json     []byte          // each element's, with a comma before it
}

type element[K ordered[K], V any] struct {
	key   K
	value V
	end   uint32 // of its JSON in the chunk's
}

// entry is an element by itself.
type entry[K ordered[K], V any] struct {
	key   K
	value V
	json  []byte
}

// change puts an entry into a list, or takes the entry of that key away.
type change[K ordered[K], V any] struct {
	entry[K, V]
	removed bool
}

// newChunk copies entries and their JSON: both may be scratch.
func newChunk[K ordered[K], V any](entries []entry[K, V]) *chunk[K, V] {
	size := 0
	for _, e := range entries {
		size += len(",") + len(e.json)
	}
	c := &chunk[K, V]{elements: make([]element[K, V], len(entries)), json: make([]byte, 0, size)}
	for i, e := range entries {
		c.json = append(append(c.json, ','), e.json...)
		c.elements[i] = element[K, V]{e.key, e.value, uint32(len(c.json))}
	}
	return c
}

// at returns an element by itself. Its JSON is the chunk's.
func (c *chunk[K, V]) at(i int) entry[K, V] {
	begin := 0
	if i > 0 {
		begin = int(c.elements[i-1].end)
	}
	begin += len(",")
	end := int(c.elements[i].end)
	return entry[K, V]{c.elements[i].key, c.elements[i].value, c.json[begin:end:end]}
}

// search returns the index of the first element from first on that does not sort before k, and
// whether it is k's.
func (c *chunk[K, V]) search(first int, k K) (int, bool) {
	i, found := slices.BinarySearchFunc(c.elements[first:], k, func(e element[K, V], k K) int { return e.key.compare(k) })
	return first + i, found
}

// holding returns the index of the chunk in which k stands, if it stands in any: the first one also
// covers what sorts before it. The list must not be empty.
func (l list[K, V]) holding(k K) int {
	return holding(l.chunks, k)
}

func holding[K ordered[K], V any](chunks []*chunk[K, V], k K) int {
	after, begins := slices.BinarySearchFunc(chunks[1:], k, func(c *chunk[K, V], k K) int { return c.elements[0].key.compare(k) })
	if begins {
		after++
	}
	return after
}

// find returns the entry of k.
func (l list[K, V]) find(k K) (e entry[K, V], ok bool) {
	if len(l.chunks) == 0 {
		return e, false
	}
	c := l.chunks[l.holding(k)]
	i, found := c.search(0, k)
	if !found {
		return e, false
	}
	return c.at(i), true
}

// all ranges over keys and values, in order.
func (l list[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, c := range l.chunks {
			for _, e := range c.elements {
				if !yield(e.key, e.value) {
					return
				}
			}
		}
	}
}

// appendJSON appends the entries to an answer, with commas between them.
func (l list[K, V]) appendJSON(buffers [][]byte) [][]byte {
	for n, c := range l.chunks {
		json := c.json
		if n == 0 {
			json = json[len(","):]
		}
		buffers = append(buffers, json)
	}
	return buffers
}

// diff returns the entries of now that old has not, and those of old whose keys now has not. Its
// cost is that of the chunks that the two do not share.
func diff[K ordered[K], V any](old, now list[K, V]) (changed, gone []entry[K, V]) {
	was, is := old.without(now), now.without(old)
	for len(was) > 0 || len(is) > 0 {
		var order int
		switch {
		case len(is) == 0:
			order = -1
		case len(was) == 0:
			order = +1
		default:
			order = was[0].key.compare(is[0].key)
		}
		switch {
		case order < 0:
			gone, was = append(gone, was[0]), was[1:]
		case order > 0:
			changed, is = append(changed, is[0]), is[1:]
		default:
			if !bytes.Equal(was[0].json, is[0].json) {
				changed = append(changed, is[0])
			}
			was, is = was[1:], is[1:]
		}
	}
	return changed, gone
}

// without returns the entries of those chunks that other has not.
func (l list[K, V]) without(other list[K, V]) (entries []entry[K, V]) {
	shared := make(map[*chunk[K, V]]struct{}, len(other.chunks))
	for _, c := range other.chunks {
		shared[c] = struct{}{}
	}
	for _, c := range l.chunks {
		if _, both := shared[c]; !both {
			for i := range c.elements {
				entries = append(entries, c.at(i))
			}
		}
	}
	return entries
}
