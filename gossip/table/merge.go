package table

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
)

// Merge takes in what another member sent. It keeps no reference to the message. With an error
// (another version or type, malformed) the table is as it was.
//
// An entry is taken only if its observer has signed it, and if it is its observer's to say: canary,
// traffic, process and measures of itself, path of others, and nothing under this member's own
// name. Who sent it is not looked at, since everything is relayed. A signature is looked at only
// where it would have an effect: what is known costs nothing.
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
	held := t.incarnation(p.observer.ID)
	switch {
	case held != nil && p.observer.Epoch < held.Epoch:
		ignore(causeSuperseded)
		return
	case held == nil && t.stats.Observers >= maxObservers:
		ignore(causeFull)
		return
	case held != nil && !bytes.Equal(p.key, held.key): // an ID has one key, in all its incarnations
		t.ignoreForged(p, max(1, len(entries)), r)
		return
	}
	i := held
	if held == nil || p.observer.Epoch > held.Epoch {
		i = &incarnation{Observer: p.observer, key: p.key} // of which nothing is signed yet
	}
	rises := len(p.signature) > 0 && (i.signed.signature == nil || p.watermark > i.signed.watermark)
	if rises && !t.holdsWatermark(p) {
		t.ignoreForged(p, max(1, len(entries)), r)
		return
	}
	watermark := i.watermark
	if rises {
		watermark = max(watermark, p.watermark)
	}
	signed := t.signedOf(i, watermark, entries, p, r)
	if i != held {
		if !rises && len(signed) == 0 {
			return // nobody has said that it begins
		}
		if held != nil {
			t.end(held, r)
		}
		i = t.begin(p.observer, bytes.Clone(p.key))
	}
	for _, e := range signed {
		if why, ok := t.takes(i, watermark, e); !ok {
			r.Ignored[why]++ // two of one subject
			continue
		}
		_, _, stands := decodeReport(e.raw)
		t.put(i, e.subject, e.seq, bytes.Clone(e.raw), stands, r)
	}
	if rises {
		i.signed = signedWatermark{p.watermark, bytes.Clone(p.signature)}
		r.incarnations = append(r.incarnations, i)
	}
	// After the entries, so that what is said anew is never withdrawn in between.
	if watermark = max(watermark, i.trim()); watermark > i.watermark {
		t.compact(i, watermark, r)
	}
}

// signedOf returns the entries that have an effect and that their observer has signed. Behind one
// that it has not, no other is worth looking at.
func (t *Table) signedOf(i *incarnation, watermark uint64, entries []Entry, p batchPart, r *recorder) []Entry {
	signed := entries[:0]
	for n, e := range entries {
		e.observer = p.observer
		if why, ok := t.takes(i, watermark, e); !ok {
			r.Ignored[why]++
			continue
		}
		if !t.holdsEntry(p.key, e) {
			t.ignoreForged(p, len(entries)-n, r)
			break
		}
		signed = append(signed, e)
	}
	return signed
}

// ignoreForged notes that so many entries came in the name of somebody who has not signed them.
func (t *Table) ignoreForged(p batchPart, entries int, r *recorder) {
	r.Ignored[causeForged] += entries
	if !slices.Contains(r.Forged, p.observer.ID) {
		r.Forged = append(r.Forged, p.observer.ID)
	}
}

// takes reports whether an entry has an effect, if it is signed.
func (t *Table) takes(i *incarnation, watermark uint64, e Entry) (Cause, bool) {
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
	if grows > 0 && t.stats.Size+grows > t.most {
		return causeFull, false
	}
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
		t.ignoreForged(p, max(1, len(entries)), r)
		return
	}
	for _, e := range entries {
		held := own.entries[e.subject]
		if e.seq > t.seq || held != nil && e.seq == held.seq && !bytes.Equal(e.raw, held.raw) {
			t.ignoreForged(p, 1, r)
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
		return observer == s.ID && s.Measure == 0
	case dynmesh.KindPath, dynmesh.KindSystem, dynmesh.KindPinned:
		return observer != s.ID && s.Measure == 0
	case dynmesh.KindMeasure:
		return observer == s.ID && s.Measure != 0 && s.Endpoint != dynmesh.Endpoint{}
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

// dropOldestForgotten drops the one that ends first. It sorts them once for many: strangers who
// have filled the table are forgotten all at once.
func (t *Table) dropOldestForgotten() {
	for {
		if len(t.ending) == 0 {
			for id, f := range t.forgotten {
				t.ending = append(t.ending, ending{id, f.until})
			}
			slices.SortFunc(t.ending, func(a, b ending) int {
				return cmp.Or(a.until.Compare(b.until), cmp.Compare(a.id, b.id))
			})
		}
		first := t.ending[0]
		t.ending = t.ending[1:]
		if f, ok := t.forgotten[first.id]; ok && f.until.Equal(first.until) { // else recalled, or forgotten anew
			delete(t.forgotten, first.id)
			return
		}
	}
}

// holdsEntry reports whether an observer has said so.
func (t *Table) holdsEntry(key []byte, e Entry) bool {
	said, signature, ok := cutSeal(e.raw)
	return ok && t.keys.Holds(e.observer.ID, key, entryStatement(e.observer, e.subject, said), signature)
}

// holdsWatermark reports whether an observer has raised its watermark that high.
func (t *Table) holdsWatermark(p batchPart) bool {
	return t.keys.Holds(p.observer.ID, p.key, watermarkStatement(p.observer, p.watermark), p.signature)
}
