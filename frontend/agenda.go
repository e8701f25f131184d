package frontend

import (
	"container/heap"
	"time"
)

// agenda says which instances have to be looked at again when, though nothing comes in: those for which time itself is
// evidence. Its zero value is empty.
type agenda struct{ entries entries }

type entry struct {
	at time.Time
	*instance
}

const unplanned = -1

// plan sets when i is to be looked at; the zero time: never.
func (a *agenda) plan(i *instance, at time.Time) {
	switch planned := i.place != unplanned; {
	case at.IsZero() && planned:
		heap.Remove(&a.entries, i.place)
	case at.IsZero():
	case planned:
		a.entries[i.place].at = at
		heap.Fix(&a.entries, i.place)
	default:
		heap.Push(&a.entries, entry{at, i})
	}
}

// first returns when the first is due.
func (a *agenda) first() (time.Time, bool) {
	if len(a.entries) == 0 {
		return time.Time{}, false
	}
	return a.entries[0].at, true
}

// due takes out one that is due; nil if there is none.
func (a *agenda) due(now time.Time) *instance {
	if at, any := a.first(); !any || at.After(now) {
		return nil
	}
	i := a.entries[0].instance
	heap.Pop(&a.entries)
	return i
}

// entries is a heap whose instances know their places.
type entries []entry

func (e entries) Len() int           { return len(e) }
func (e entries) Less(i, j int) bool { return e[i].at.Before(e[j].at) }

func (e entries) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].place, e[j].place = i, j
}

func (e *entries) Push(x any) {
	added := x.(entry)
	added.place = len(*e)
	*e = append(*e, added)
}

func (e *entries) Pop() any {
	last := len(*e) - 1
	removed := (*e)[last]
	(*e)[last] = entry{}
	*e = (*e)[:last]
	removed.place = unplanned
	return removed
}
