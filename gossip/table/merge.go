package table

import (
	"bytes"
	"math"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
)

// Merge takes in what another member sent. It keeps no reference to the message. With an error
// (another version or type, malformed) the table is as it was.
//
// An entry is taken only if it is its observer's to say: canary, traffic and process of itself,
// path of others, and nothing under this member's own name. Who sent it is not looked at, since
// everything is relayed: inside the keyring members do not lie.
func (t *Table) Merge(message []byte) (Changes, error) {
	b, err := parseBatch(message)
	if err != nil {
		return Changes{}, err
	}
	r := t.recorder()
	rest := b.entries
	for _, p := range b.parts {
		t.mergePart(p, rest[:p.n], r)
		rest = rest[p.n:]
	}
	return r.changes(), nil
}

func (t *Table) mergePart(p batchPart, entries []Entry, r *recorder) {
	ignore := func(why Cause) { r.Ignored[why] += max(1, len(entries)) }
	if p.observer.ID == t.self.ID {
		t.mergeOwn(p, entries, r)
		return
	}
	if f, ok := t.forgotten[p.observer.ID]; ok && p.observer.Epoch <= f.epoch {
		ignore(causeForgotten)
		return
	}
	i := t.incarnation(p.observer.ID)
	switch {
	case i != nil && p.observer.Epoch < i.Epoch:
		ignore(causeSuperseded)
		return
	case i == nil && t.stats.Observers >= maxObservers:
		ignore(causeFull)
		return
	case i == nil || p.observer.Epoch > i.Epoch:
		if i != nil {
			t.end(i, r)
		}
		i = t.begin(p.observer)
		r.incarnations = append(r.incarnations, i)
	}
	watermark := max(i.watermark, p.watermark)
	for _, e := range entries {
		if why, ok := t.mergeEntry(i, watermark, e, r); !ok {
			r.Ignored[why]++
		}
	}
	// After the entries, so that what is said anew is never withdrawn in between.
	if watermark = max(watermark, i.trim()); watermark > i.watermark {
		t.compact(i, watermark, r)
	}
}

func (t *Table) mergeEntry(i *incarnation, watermark uint64, e Entry, r *recorder) (Cause, bool) {
	said, _, stands := decodeReport(e.raw)
	switch {
	case e.seq == 0 || e.seq == math.MaxUint64 || len(e.raw) > maxEntry || e.subject.ID == 0:
		return causeMalformed, false
	case stands && !mayReport(i.ID, e.subject, said.Kind):
		return causeNotOwner, false
	case e.seq < watermark:
		return causeKnown, false
	}
	grows := costOf(e.subject, e.raw)
	if held := i.entries[e.subject]; held != nil {
		if e.seq < held.seq || e.seq == held.seq && bytes.Compare(e.raw, held.raw) <= 0 {
			return causeKnown, false
		}
		grows -= held.cost()
	}
	if grows > 0 && t.stats.Size+grows > maxSize {
		return causeFull, false
	}
	t.put(i, e.subject, e.seq, bytes.Clone(e.raw), stands, r)
	return 0, true
}

// mergeOwn changes nothing: what this member says it knows best. It counts what it never said.
func (t *Table) mergeOwn(p batchPart, entries []Entry, r *recorder) {
	own := t.incarnation(t.self.ID)
	switch {
	case p.observer.Epoch < t.self.Epoch:
		r.Ignored[causeStaleSelf] += max(1, len(entries))
		return
	case p.observer.Epoch > t.self.Epoch || p.watermark > own.watermark:
		r.Ignored[causeForged] += max(1, len(entries))
		return
	}
	for _, e := range entries {
		held := own.entries[e.subject]
		if e.seq > t.seq || held != nil && e.seq == held.seq && !bytes.Equal(e.raw, held.raw) {
			r.Ignored[causeForged]++
		} else {
			r.Ignored[causeKnown]++
		}
	}
}

// mayReport says whether an observer may say such a thing of a subject. Of kinds that are not known
// it is not known.
func mayReport(observer dynmesh.InstanceID, s dynmesh.Subject, k dynmesh.Kind) bool {
	switch k {
	case dynmesh.KindCanary, dynmesh.KindTraffic, dynmesh.KindProcess:
		return observer == s.ID
	case dynmesh.KindPath, dynmesh.KindSystem, dynmesh.KindPinned:
		return observer != s.ID
	}
	return true
}

// trim returns the lowest watermark that leaves at most maxEntries. More entries, or higher
// sequences, never lower it: that is why it commutes.
func (i *incarnation) trim() uint64 {
	if len(i.entries) <= maxEntries {
		return 0
	}
	seqs := make([]uint64, 0, len(i.entries))
	for _, e := range i.entries {
		seqs = append(seqs, e.seq)
	}
	slices.Sort(seqs)
	return seqs[len(seqs)-maxEntries-1] + 1
}

// Forget drops all that an incarnation of an observer said, and ignores it and earlier ones until
// then, or until [Table.Recall]. A later incarnation is not concerned, nor is this member itself.
// Of more than maxForgotten those that end first go.
func (t *Table) Forget(o dynmesh.Observer, until time.Time) Changes {
	r := t.recorder()
	if o.ID == t.self.ID {
		return Changes{}
	}
	if i := t.incarnation(o.ID); i != nil {
		if i.Epoch > o.Epoch {
			return Changes{}
		}
		t.end(i, r)
	}
	if f, ok := t.forgotten[o.ID]; ok {
		o.Epoch = max(o.Epoch, f.epoch)
	} else if len(t.forgotten) >= maxForgotten {
		t.dropOldestForgotten()
	}
	t.forgotten[o.ID] = forgotten{o.Epoch, until}
	return r.changes()
}

// Recall takes back [Table.Forget], for an observer that turns out to be there, such as after a
// partition. What it said comes back with the next comparison of digests.
func (t *Table) Recall(o dynmesh.Observer) {
	if f, ok := t.forgotten[o.ID]; ok && f.epoch <= o.Epoch {
		delete(t.forgotten, o.ID)
	}
}

func (t *Table) expireForgotten(now time.Time) {
	for id, f := range t.forgotten {
		if !now.Before(f.until) {
			delete(t.forgotten, id)
		}
	}
}

func (t *Table) dropOldestForgotten() {
	var oldest dynmesh.InstanceID
	for id, f := range t.forgotten {
		o := t.forgotten[oldest]
		if oldest == 0 || f.until.Before(o.until) || f.until.Equal(o.until) && id < oldest {
			oldest = id
		}
	}
	delete(t.forgotten, oldest)
}
