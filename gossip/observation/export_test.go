package observation

import "github.com/dynmesh/dynmesh"

// Crafted is an entry as no honest observer needs to have written it.
func Crafted(o dynmesh.Observer, floor uint64, s dynmesh.Subject, seq uint64, raw []byte) Entry {
	return Entry{observer: o, floor: floor, subject: s, seq: seq, raw: raw}
}

// Raw returns what is kept of an entry.
func (e Entry) Raw() []byte { return e.raw }

// Floor returns the floor that the entry brings along.
func (e Entry) Floor() uint64 { return e.floor }

// Encode is what an observer writes; nil is a withdrawal.
func Encode(seq uint64, f *dynmesh.Report) []byte { return encode(seq, f) }

// Messages packs entries.
func Messages(entries []Entry, limit int) [][]byte { return messages(entries, limit) }

// Counted is what Digest, Stats and the digests of lives have to be.
func (t *Table) Counted() (d Digest, s Stats, livesRight bool) {
	livesRight = true
	for i, b := range t.buckets {
		for _, l := range b {
			s.Observers++
			h, live := l.hash(), 0
			for _, e := range l.entries {
				h ^= e.hash()
				s.Size += e.cost()
				if e.live {
					live++
				}
			}
			s.Observations += live
			s.Withdrawn += len(l.entries) - live
			livesRight = livesRight && l.digest == h && l.live == live
			d[i] ^= h
		}
	}
	s.Forgotten = len(t.forgotten)
	return d, s, livesRight
}
