package observation

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
)

// Settle is how long re-stamped entries have to reach everybody before the floor rises above the old ones.
const Settle = time.Minute

// ErrFull is the error of Observe where this observer has MaxEntries observations already.
var ErrFull = errors.New("too many observations of one observer")

// A restamp under way: what is below the floor is to go at the time.
type restamp struct {
	floor uint64 // 0: none
	at    time.Time
}

// Observe takes a finding of this member's own. What others could not read is put right (one line of detail, times in range) or, where
// it has no meaning (a kind that is not this member's to say of the subject, an unknown finding), refused with an error that
// names the field. A finding that differs from what stands in At and Latency only changes nothing: it still stands.
func (t *Table) Observe(f dynmesh.Report) (Changes, error) {
	f, err := check(t.self, f)
	if err != nil {
		return Changes{}, fmt.Errorf("observe %s of %s: %w", f.Kind, f.Subject.ID, err)
	}
	own, c := t.life(t.self.ID), t.change()
	e := own.entries[f.Subject]
	if e != nil && e.live {
		was := e.observation().Report
		was.At, was.Latency = f.At, f.Latency
		if was == f {
			return Changes{}, nil
		}
	}
	if e == nil && len(own.entries) >= MaxEntries {
		if own.live >= MaxEntries {
			return Changes{}, fmt.Errorf("observe %s of %s: %w", f.Kind, f.Subject.ID, ErrFull)
		}
		t.raise(own, t.restamp(c), c)
		t.restamped = restamp{}
	}
	t.last++
	t.put(own, f.Subject, t.last, encode(t.last, &f), true, c)
	return c.done(), nil
}

// Withdraw takes back what this member says of a subject.
func (t *Table) Withdraw(s dynmesh.Subject) Changes {
	own, c := t.life(t.self.ID), t.change()
	if e := own.entries[s]; e != nil && e.live {
		t.last++
		t.put(own, s, t.last, encode(t.last, nil), false, c)
	}
	return c.done()
}

// Expire ends what need not be remembered any longer: what was forgotten until now, and this member's own withdrawals.
// Call it every few seconds.
//
// Withdrawals end in two steps, so that nobody misses an observation in between: where there are more than
// max(16, half of what stands), all that stands is said again under new sequences; when that has had time to Settle, the
// floor rises above everything older.
func (t *Table) Expire(now time.Time) Changes {
	t.expireForgotten(now)
	own, c := t.life(t.self.ID), t.change()
	switch r := t.restamped; {
	case r.floor == 0 && len(own.entries)-own.live > max(16, own.live/2):
		t.restamped = restamp{floor: t.restamp(c), at: now.Add(Settle)}
	case r.floor > 0 && !now.Before(r.at):
		t.raise(own, r.floor, c)
		c.lives = append(c.lives, own)
		t.restamped = restamp{}
	}
	return c.done()
}

// restamp says all that stands again, in the order in which it was said, and returns the first new sequence.
func (t *Table) restamp(c *change) uint64 {
	first := t.last + 1
	var live []*entry
	for _, e := range t.life(t.self.ID).entries {
		if e.live {
			live = append(live, e)
		}
	}
	slices.SortFunc(live, func(a, b *entry) int { return cmp.Compare(a.seq, b.seq) })
	for _, e := range live {
		f := e.observation().Report
		t.last++
		t.put(e.life, e.subject, t.last, encode(t.last, &f), true, c)
	}
	return first
}
