package table

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
)

// compactionDelay is how long renumbered entries have to reach everybody before the watermark rises
// above the old ones.
const compactionDelay = time.Minute

// errFull is the error of Observe where this observer has maxEntries observations already.
var errFull = errors.New("too many observations of one observer")

// compaction is one that is under way: what is below the watermark is to go at the time.
type compaction struct {
	watermark uint64 // 0: none
	at        time.Time
}

// Observe takes a finding of this member's own.
//
//   - What others could not read is put right: detail becomes one line, times are brought into
//     range.
//   - What has no meaning is refused with an error that names the field: a kind that is not this
//     member's to say of the subject, an unknown finding.
//   - What differs in At and Latency only from what stands changes nothing: that still stands.
func (t *Table) Observe(f dynmesh.Report) (Changes, error) {
	f, err := checkReport(t.self, f)
	if err != nil {
		return Changes{}, fmt.Errorf("observe %s of %s: %w", f.Kind, f.Subject.ID, err)
	}
	own, r := t.incarnation(t.self.ID), t.recorder()
	e := own.entries[f.Subject]
	if e != nil && e.stands {
		was := e.observation().Report
		was.At, was.Latency = f.At, f.Latency
		if was == f {
			return Changes{}, nil
		}
	}
	if e == nil && len(own.entries) >= maxEntries {
		if own.observations >= maxEntries {
			return Changes{}, fmt.Errorf("observe %s of %s: %w", f.Kind, f.Subject.ID, errFull)
		}
		t.endCompaction(t.renumber(r), r)
	}
	t.say(own, f.Subject, &f, r)
	return r.changes(), nil
}

// Repeat says what this member says of a subject again, as of that time, so that others hear it
// anew.
func (t *Table) Repeat(s dynmesh.Subject, at time.Time) Changes {
	own, r := t.incarnation(t.self.ID), t.recorder()
	if e := own.entries[s]; e != nil && e.stands {
		f := e.observation().Report
		f.At = timeOf(at.UnixMilli())
		t.say(own, s, &f, r)
	}
	return r.changes()
}

// Own returns all that this member says.
func (t *Table) Own() []Entry { return t.incarnation(t.self.ID).appendAll(nil) }

// Withdraw takes back what this member says of a subject.
func (t *Table) Withdraw(s dynmesh.Subject) Changes {
	own, r := t.incarnation(t.self.ID), t.recorder()
	if e := own.entries[s]; e != nil && e.stands {
		t.say(own, s, nil, r)
	}
	return r.changes()
}

// Expire ends what need not be remembered any longer: what was forgotten until now, and this
// member's own withdrawals. Call it every few seconds.
//
// Withdrawals end in two steps, so that nobody misses an observation in between: where there are
// more than max(16, half of what stands), all that stands is said again under new sequences; after
// compactionDelay the watermark rises above everything older.
func (t *Table) Expire(now time.Time) Changes {
	t.expireForgotten(now)
	own, r := t.incarnation(t.self.ID), t.recorder()
	switch c := t.compaction; {
	case c.watermark == 0 && len(own.entries)-own.observations > max(16, own.observations/2):
		t.compaction = compaction{watermark: t.renumber(r), at: now.Add(compactionDelay)}
	case c.watermark > 0 && !now.Before(c.at):
		t.endCompaction(c.watermark, r)
	}
	return r.changes()
}

// renumber says all that stands again, in the order in which it was said, and returns the first new
// sequence.
func (t *Table) renumber(r *recorder) uint64 {
	first := t.seq + 1
	var standing []*entry
	for _, e := range t.incarnation(t.self.ID).entries {
		if e.stands {
			standing = append(standing, e)
		}
	}
	slices.SortFunc(standing, func(a, b *entry) int { return cmp.Compare(a.seq, b.seq) })
	for _, e := range standing {
		f := e.observation().Report
		t.say(e.of, e.subject, &f, r)
	}
	return first
}

// say signs what this member says of a subject, under its next sequence; nil withdraws it.
func (t *Table) say(own *incarnation, s dynmesh.Subject, f *dynmesh.Report, r *recorder) {
	t.seq++
	t.put(own, s, t.seq, appendSeal(encodeReport(t.seq, f), t.keys, t.self, s), f != nil, r)
}

// endCompaction raises the watermark: all that this member said below the watermark is gone.
func (t *Table) endCompaction(watermark uint64, r *recorder) {
	own := t.incarnation(t.self.ID)
	t.sign(own, watermark)
	t.compact(own, watermark, r)
	t.compaction = compaction{}
}
