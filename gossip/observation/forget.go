package observation

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// What was forgotten is remembered for a while, or whoever has not forgotten yet would bring it back.
type forgotten struct {
	epoch uint64
	until time.Time
}

// Forget drops all that a life of an observer said, and ignores it and earlier lives until then, or until [Table.Recall]. A
// later life of it is not concerned, nor is this member itself. Of more than MaxForgotten those that end first go.
func (t *Table) Forget(o dynmesh.Observer, until time.Time) Changes {
	c := t.change()
	if o.ID == t.self.ID {
		return Changes{}
	}
	if l := t.life(o.ID); l != nil {
		if l.Epoch > o.Epoch {
			return Changes{}
		}
		t.end(l, c)
	}
	if f, ok := t.forgotten[o.ID]; ok {
		o.Epoch = max(o.Epoch, f.epoch)
	} else if len(t.forgotten) >= MaxForgotten {
		t.dropOldestForgotten()
	}
	t.forgotten[o.ID] = forgotten{o.Epoch, until}
	return c.done()
}

// Recall takes back [Table.Forget], for an observer that turns out to be there, such as after a partition. What it said comes
// back with the next comparison of digests.
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
		if o := t.forgotten[oldest]; oldest == 0 || f.until.Before(o.until) || f.until.Equal(o.until) && id < oldest {
			oldest = id
		}
	}
	delete(t.forgotten, oldest)
}
