package fleet

import (
	"container/heap"
	"time"
)

// deadlines say which instances are to be looked at again when, though nothing comes in: those for which
// time alone is evidence.
type deadlines struct {
	heap entries
}

type entry struct {
	at time.Time
	i  *Instance
}

type entries struct {
	list []entry
	at   map[*Instance]int
}

func (d *deadlines) set(i *Instance, at time.Time) {
	place, planned := d.heap.at[i]
	switch {
	case at.IsZero() && planned:
		heap.Remove(&d.heap, place)
	case at.IsZero():
	case planned:
		d.heap.list[place].at = at
		heap.Fix(&d.heap, place)
	default:
		heap.Push(&d.heap, entry{at, i})
	}
}

func (d *deadlines) next() (time.Time, bool) {
	if len(d.heap.list) == 0 {
		return time.Time{}, false
	}
	return d.heap.list[0].at, true
}

func (d *deadlines) pop(now time.Time) (*Instance, bool) {
	if at, ok := d.next(); !ok || at.After(now) {
		return nil, false
	}
	return heap.Pop(&d.heap).(entry).i, true
}

func (e *entries) Len() int           { return len(e.list) }
func (e *entries) Less(i, j int) bool { return e.list[i].at.Before(e.list[j].at) }
func (e *entries) Swap(i, j int) {
	e.list[i], e.list[j] = e.list[j], e.list[i]
	e.at[e.list[i].i], e.at[e.list[j].i] = i, j
}

func (e *entries) Push(x any) {
	if e.at == nil {
		e.at = map[*Instance]int{}
	}
	e.at[x.(entry).i] = len(e.list)
	e.list = append(e.list, x.(entry))
}

func (e *entries) Pop() any {
	last := len(e.list) - 1
	x := e.list[last]
	e.list[last] = entry{}
	e.list = e.list[:last]
	delete(e.at, x.i)
	return x
}
