package timers

import (
	"cmp"
	"container/heap"
)

// Queue orders timers by when they are due, in a unit of the caller's choice. One goroutine uses
// it. Its zero value is empty.
type Queue[T cmp.Ordered, V any] struct{ heap timerHeap[T, V] }

// Timer is one deadline of a Queue, for as long as it is set. It is part of what it stands for, so
// that setting it allocates nothing and moving it searches nothing. Its zero value is not set.
type Timer[T cmp.Ordered, V any] struct {
	Value V // what it stands for: set it once, before the timer is used
	at    T
	place int // in the heap, from 1; 0: not set
}

// Set makes the timer due at the given time, whether or not it was set before.
func (q *Queue[T, V]) Set(t *Timer[T, V], at T) {
	t.at = at
	if t.place == 0 {
		heap.Push(&q.heap, t)
	} else {
		heap.Fix(&q.heap, t.place-1)
	}
}

// Stop takes the timer out, if it is set.
func (q *Queue[T, V]) Stop(t *Timer[T, V]) {
	if t.place != 0 {
		heap.Remove(&q.heap, t.place-1)
	}
}

// Next returns when the first timer is due; false: none is set.
func (q *Queue[T, V]) Next() (at T, ok bool) {
	if len(q.heap) == 0 {
		return at, false
	}
	return q.heap[0].at, true
}

// Pop takes out the first timer that is due at now and returns what it stands for; false: none is.
func (q *Queue[T, V]) Pop(now T) (v V, ok bool) {
	if len(q.heap) == 0 || q.heap[0].at > now {
		return v, false
	}
	return heap.Pop(&q.heap).(*Timer[T, V]).Value, true
}

// Len returns how many timers are set.
func (q *Queue[T, V]) Len() int { return len(q.heap) }

// timerHeap implements heap.Interface. Its timers know their places.
type timerHeap[T cmp.Ordered, V any] []*Timer[T, V]

func (h timerHeap[T, V]) Len() int           { return len(h) }
func (h timerHeap[T, V]) Less(i, j int) bool { return h[i].at < h[j].at }

func (h timerHeap[T, V]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

func (h *timerHeap[T, V]) Push(x any) {
	t := x.(*Timer[T, V])
	t.place = len(*h) + 1
	*h = append(*h, t)
}

func (h *timerHeap[T, V]) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.place = 0
	return t
}
