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
		t.compact(own, t.renumber(r), r)
		t.compaction = compaction{}
	}
	t.seq++
	t.put(own, f.Subject, t.seq, encodeReport(t.seq, &f), true, r)
	return r.changes(), nil
}

// Withdraw takes back what this member says of a subject.
func (t *Table) Withdraw(s dynmesh.Subject) Changes {
	own, r := t.incarnation(t.self.ID), t.recorder()
	if e := own.entries[s]; e != nil && e.stands {
		t.seq++
		t.put(own, s, t.seq, encodeReport(t.seq, nil), false, r)
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
		t.compact(own, c.watermark, r)
		t.compaction = compaction{}
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
		t.seq++
		t.put(e.of, e.subject, t.seq, encodeReport(t.seq, &f), true, r)
	}
	return first
}
