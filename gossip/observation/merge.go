package observation

import (
	"bytes"
	"math"
	"slices"

	"github.com/dynmesh/dynmesh"
)

// Merge takes in what another member sent. It keeps no reference to the message. With an error (ErrVersion, ErrType,
// ErrMalformed) the table is as it was.
//
// An entry is taken only if it can be its observer's to say: Canary, Traffic and Process of itself, Path of others, and
// nothing under this member's own name. Who sent it is not looked at, since everything is relayed: inside the keyring
// members do not lie.
func (t *Table) Merge(message []byte) (Changes, error) {
	b, err := parse(message)
	if err != nil {
		return Changes{}, err
	}
	c := t.change()
	rest := b.entries
	for _, p := range b.lives {
		t.mergeLife(p, rest[:p.n], c)
		rest = rest[p.n:]
	}
	return c.done(), nil
}

func (t *Table) mergeLife(p part, entries []Entry, c *change) {
	ignore := func(why Cause) { c.Ignored[why] += max(1, len(entries)) }
	if p.observer.ID == t.self.ID {
		t.mergeOwn(p, entries, c)
		return
	}
	if f, ok := t.forgotten[p.observer.ID]; ok && p.observer.Epoch <= f.epoch {
		ignore(Forgotten)
		return
	}
	l := t.life(p.observer.ID)
	switch {
	case l != nil && p.observer.Epoch < l.Epoch:
		ignore(Superseded)
		return
	case l == nil && t.stats.Observers >= MaxObservers:
		ignore(Full)
		return
	case l == nil || p.observer.Epoch > l.Epoch:
		if l != nil {
			t.end(l, c)
		}
		l = t.begin(p.observer)
		c.lives = append(c.lives, l)
	}
	floor := max(l.floor, p.floor)
	for _, e := range entries {
		if why, ok := t.mergeEntry(l, floor, e, c); !ok {
			c.Ignored[why]++
		}
	}
	// After the entries, so that what is said anew is never withdrawn in between.
	if floor = max(floor, crowded(l)); floor > l.floor {
		t.raise(l, floor, c)
		c.lives = append(c.lives, l)
	}
}

func (t *Table) mergeEntry(l *life, floor uint64, e Entry, c *change) (Cause, bool) {
	f, _, live := decode(e.raw)
	switch {
	case e.seq == 0 || e.seq == math.MaxUint64 || len(e.raw) > MaxEntry || e.subject.ID == 0:
		return Malformed, false
	case live && !owns(l.ID, e.subject, f.Kind):
		return NotOwner, false
	case e.seq < floor:
		return Stale, false
	}
	grows := costOf(e.subject, e.raw)
	if held := l.entries[e.subject]; held != nil {
		if e.seq < held.seq || e.seq == held.seq && bytes.Compare(e.raw, held.raw) <= 0 {
			return Stale, false
		}
		grows -= held.cost()
	}
	if grows > 0 && t.stats.Size+grows > MaxSize {
		return Full, false
	}
	t.put(l, e.subject, e.seq, bytes.Clone(e.raw), live, c)
	return 0, true
}

// mergeOwn changes nothing: what this member says it knows best. It counts what it never said.
func (t *Table) mergeOwn(p part, entries []Entry, c *change) {
	own := t.life(t.self.ID)
	switch {
	case p.observer.Epoch < t.self.Epoch:
		c.Ignored[FormerLife] += max(1, len(entries))
		return
	case p.observer.Epoch > t.self.Epoch || p.floor > own.floor:
		c.Ignored[Forged] += max(1, len(entries))
		return
	}
	for _, e := range entries {
		held := own.entries[e.subject]
		if e.seq > t.last || held != nil && e.seq == held.seq && !bytes.Equal(e.raw, held.raw) {
			c.Ignored[Forged]++
		} else {
			c.Ignored[Stale]++
		}
	}
}

// owns says whether an observer may say such a thing of a subject. Of kinds that are not known it is not known.
func owns(observer dynmesh.InstanceID, s dynmesh.Subject, k dynmesh.Kind) bool {
	switch k {
	case dynmesh.KindCanary, dynmesh.KindTraffic, dynmesh.KindProcess:
		return observer == s.ID
	case dynmesh.KindPath:
		return observer != s.ID
	}
	return true
}

// crowded returns the lowest floor that leaves a life at most MaxEntries. More entries, or higher sequences, never lower it:
// that is why it commutes.
func crowded(l *life) uint64 {
	if len(l.entries) <= MaxEntries {
		return 0
	}
	seqs := make([]uint64, 0, len(l.entries))
	for _, e := range l.entries {
		seqs = append(seqs, e.seq)
	}
	slices.Sort(seqs)
	return seqs[len(seqs)-MaxEntries-1] + 1
}
