package frontend

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

const (
	maxChanges = 32
	flapWindow = 10 * time.Minute // in which changes of the verdict are counted
)

// history is an instance's last changes of verdict, the oldest first.
type history []turn

// turn is one change of an instance's verdict.
type turn struct {
	At     time.Time
	From   dynmesh.VerdictState
	To     dynmesh.VerdictState
	Reason string // the one that decided
}

// with returns the history with one more turn, and without the oldest if there are too many.
func (h history) with(t turn) history {
	if len(h) == maxChanges {
		copy(h, h[1:])
		h = h[:maxChanges-1]
	}
	return append(h, t)
}

// flaps returns how many changes there were within the window, and when one of them leaves it; zero if there is none.
func (h history) flaps(now time.Time) (n int, next time.Time) {
	for _, t := range h {
		if leaves := t.At.Add(flapWindow); leaves.After(now) {
			if n == 0 {
				next = leaves
			}
			n++
		}
	}
	return n, next
}
