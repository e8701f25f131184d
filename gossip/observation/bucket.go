package observation

import (
	"cmp"
	"slices"
)

// MaxBatch is the length of the messages of [Table.Bucket], [Table.Summary], [Table.Answer] and [Dirty.TakeLarge]. Every entry fits.
const MaxBatch = 64 << 10

// Bucket returns everything that belongs to a bucket of the digest, as messages for a reliable transport.
func (t *Table) Bucket(i int) [][]byte {
	var entries []Entry
	for _, l := range t.livesOf(i) {
		entries = l.appendAll(entries)
	}
	return messages(entries, MaxBatch)
}

// livesOf returns the lives in a bucket, ordered, so that equal tables send equal messages.
func (t *Table) livesOf(i int) []*life {
	lives := make([]*life, 0, len(t.buckets[i]))
	for _, l := range t.buckets[i] {
		lives = append(lives, l)
	}
	slices.SortFunc(lives, func(a, b *life) int { return cmp.Compare(a.ID, b.ID) })
	return lives
}

// appendAll puts the floor on the last entry only: whoever merges message after message then never drops what a later
// message says anew.
func (l *life) appendAll(entries []Entry) []Entry {
	from := len(entries)
	for _, e := range l.entries {
		entries = append(entries, e.travel(0))
	}
	if from == len(entries) {
		return append(entries, l.travel())
	}
	slices.SortFunc(entries[from:], func(a, b Entry) int { return cmp.Compare(a.seq, b.seq) })
	entries[len(entries)-1].floor = l.floor
	return entries
}

// travel returns the life without anything that it said.
func (l *life) travel() Entry { return Entry{observer: l.Observer, floor: l.floor} }
