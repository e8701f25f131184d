package snapshot

import (
	"bytes"
	"cmp"
	"slices"
)

// batch gathers changes of one list, in any order. The JSON of many of them lies in one block of
// memory.
type batch[K ordered[K], V any] struct {
	changes []change[K, V]
	block   []byte
}

// blockSize is the size in bytes from which a block is not grown any more: the first batch may have
// 100,000 changes, and what has grown is copied each time.
const blockSize = 64 << 10

// put adds an entry, whose JSON appendJSON appends.
func (b *batch[K, V]) put(k K, v V, appendJSON func([]byte) []byte) {
	if len(b.block) > blockSize/2 {
		b.block = make([]byte, 0, blockSize)
	}
	begin := len(b.block)
	b.block = appendJSON(b.block)
	b.changes = append(b.changes, change[K, V]{entry: entry[K, V]{k, v, b.block[begin:len(b.block):len(b.block)]}})
}

// remove takes an entry away, if there is one.
func (b *batch[K, V]) remove(k K) {
	b.changes = append(b.changes, change[K, V]{entry: entry[K, V]{key: k}, removed: true})
}

// applyTo returns l after the batch, and leaves the batch empty. The last change of a key counts.
func (b *batch[K, V]) applyTo(l list[K, V], size int, edited func(k K, was, is []byte)) (next list[K, V], replaced int, changed bool) {
	// What is sorted are indexes: changes are large.
	order := make([]uint32, len(b.changes))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(x, y uint32) int {
		if c := b.changes[x].key.compare(b.changes[y].key); c != 0 {
			return c
		}
		return cmp.Compare(x, y)
	})
	last := make([]change[K, V], 0, len(order))
	for i, at := range order {
		if i+1 == len(order) || b.changes[at].key.compare(b.changes[order[i+1]].key) != 0 {
			last = append(last, b.changes[at])
		}
	}
	*b = batch[K, V]{} // its memory goes: there may be a batch for each of very many endpoints
	return l.splice(last, size, edited)
}

// splice applies changes, sorted and with no key twice. It returns l itself where they change
// nothing; else a list with new chunks where entries change and the very same ones elsewhere, and
// how many bytes of l it does not share.
//
// Each chunk holds at most size entries, and at least a quarter of that unless it is the only one:
// a list that shrank leaves no crumbs, and one that comes and goes at such a bound does not split
// and join chunks for ever.
//
// edited, unless it is nil, is told of each entry that changes: nil stands for none.
func (l list[K, V]) splice(changes []change[K, V], size int, edited func(k K, was, is []byte)) (next list[K, V], replaced int, changed bool) {
	chunks := l.chunks
	if len(chunks) == 0 {
		chunks = []*chunk[K, V]{{}} // a place for all changes
	}
	s := splicer[K, V]{size: size, edited: edited, len: l.len, done: make([]*chunk[K, V], 0, len(chunks)+len(changes)/size+1)}
	for len(changes) > 0 {
		at := holding(chunks, changes[0].key)
		s.keep(chunks[:at])
		here := len(changes) // that fall into this chunk
		if at+1 < len(chunks) {
			here, _ = slices.BinarySearchFunc(changes, chunks[at+1].elements[0].key, func(c change[K, V], k K) int { return c.key.compare(k) })
		}
		s.merge(chunks[at], changes[:here])
		changes, chunks = changes[here:], chunks[at+1:]
	}
	if !s.changed {
		return l, 0, false
	}
	s.keep(chunks)
	s.cut()
	return list[K, V]{s.done, s.len}, s.replaced, true
}

// splicer gathers the chunks of a new list.
type splicer[K ordered[K], V any] struct {
	size   int
	edited func(k K, was, is []byte)

	done     []*chunk[K, V]
	loose    []entry[K, V] // come after done, in no chunk yet
	len      int           // entries of the new list
	replaced int           // bytes of chunks that the new list does not have
	changed  bool
}

// merge adds the chunk's entries as they are after changes.
func (s *splicer[K, V]) merge(c *chunk[K, V], changes []change[K, V]) {
	before, changed, next := len(s.loose), false, 0
	for _, ch := range changes {
		at, found := c.search(next, ch.key)
		for ; next < at; next++ {
			s.loose = append(s.loose, c.at(next))
		}
		var was, is []byte
		if found {
			was = c.at(next).json
			next++
		}
		if !ch.removed {
			is = ch.json
			s.loose = append(s.loose, ch.entry)
		}
		switch {
		case ch.removed && !found, found && !ch.removed && bytes.Equal(was, is):
			continue
		case ch.removed:
			s.len--
		case !found:
			s.len++
		}
		changed = true
		if s.edited != nil {
			s.edited(ch.key, was, is)
		}
	}
	if !changed {
		s.loose = s.loose[:before]
		s.keep([]*chunk[K, V]{c})
		return
	}
	for ; next < len(c.elements); next++ {
		s.loose = append(s.loose, c.at(next))
	}
	s.replaced += len(c.json)
	s.changed = true
}

// keep adds chunks that stay as they are.
func (s *splicer[K, V]) keep(chunks []*chunk[K, V]) {
	if len(chunks) == 0 {
		return
	}
	if s.few() && len(s.done) == 0 { // none before to join them with
		s.loosen(chunks[0])
		chunks = chunks[1:]
	}
	s.cut()
	s.done = append(s.done, chunks...)
}

// cut makes chunks of the loose entries: as few as can be, all of one size, which leaves each one
// room to grow.
func (s *splicer[K, V]) cut() {
	if s.few() && len(s.done) > 0 {
		last := len(s.done) - 1
		after := s.loose
		s.loose = make([]entry[K, V], 0, s.size+len(after))
		s.loosen(s.done[last])
		s.loose = append(s.loose, after...)
		s.done = s.done[:last]
	}
	n := len(s.loose)
	pieces := (n + s.size - 1) / s.size
	for i := range pieces {
		s.done = append(s.done, newChunk(s.loose[i*n/pieces:(i+1)*n/pieces]))
	}
	s.loose = s.loose[:0]
}

// loosen takes a chunk apart, to join its entries with the loose ones.
func (s *splicer[K, V]) loosen(c *chunk[K, V]) {
	for i := range c.elements {
		s.loose = append(s.loose, c.at(i))
	}
	s.replaced += len(c.json)
}

// few says whether the loose entries are too few for a chunk.
func (s *splicer[K, V]) few() bool { return len(s.loose) > 0 && len(s.loose) < s.size/4 }
