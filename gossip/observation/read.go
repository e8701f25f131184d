package observation

import (
	"iter"

	"github.com/dynmesh/dynmesh"
)

// Stats is the size of a table.
type Stats struct {
	Observers    int
	Observations int // standing ones
	Withdrawn    int // withdrawals that are kept, lest what they withdrew come back
	Forgotten    int
	Size         int // bytes, as MaxSize counts them
}

// Self returns the observer whose findings [Table.Observe] takes.
func (t *Table) Self() dynmesh.Observer { return t.self }

// Stats returns the table's size.
func (t *Table) Stats() Stats {
	s := t.stats
	s.Forgotten = len(t.forgotten)
	return s
}

// Get returns the observation that an observer has of a subject, if it stands.
func (t *Table) Get(observer dynmesh.InstanceID, s dynmesh.Subject) (dynmesh.Observation, bool) {
	if l := t.life(observer); l != nil {
		if e := l.entries[s]; e != nil && e.live {
			return e.observation(), true
		}
	}
	return dynmesh.Observation{}, false
}

// Of returns what stands of an observer, in no order. The table must not change meanwhile.
func (t *Table) Of(observer dynmesh.InstanceID) iter.Seq[dynmesh.Observation] {
	return func(yield func(dynmesh.Observation) bool) {
		l := t.life(observer)
		if l == nil {
			return
		}
		for _, e := range l.entries {
			if e.live && !yield(e.observation()) {
				return
			}
		}
	}
}

// Observers returns the observers of which the table holds anything, itself included, in no order. The table must not
// change meanwhile.
func (t *Table) Observers() iter.Seq[dynmesh.Observer] {
	return func(yield func(dynmesh.Observer) bool) {
		for _, b := range t.buckets {
			for _, l := range b {
				if !yield(l.Observer) {
					return
				}
			}
		}
	}
}

// All returns everything that stands, in no order. The table must not change meanwhile.
func (t *Table) All() iter.Seq[dynmesh.Observation] {
	return func(yield func(dynmesh.Observation) bool) {
		for o := range t.Observers() {
			for seen := range t.Of(o.ID) {
				if !yield(seen) {
					return
				}
			}
		}
	}
}
