package rig

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
)

// Cells is how cells are measured, each of which has a row in the end.
type Cells[C, R fmt.Stringer] struct {
	AtOnce  int64         // how many run at a time
	Weight  func(C) int64 // as how many of them one counts; nil: as one
	Measure func(*testing.T, C) R
	Failed  func(of C, why string) R // the row of one that ended before it was measured
	Line    func(R) string           // what is printed of a row as it comes
}

// Run measures all, each in a test of its own, and returns their rows as they came.
func (c Cells[C, R]) Run(t *testing.T, all []C) (rows []R) {
	t.Helper()
	began := time.Now()
	room := semaphore.NewWeighted(c.AtOnce)
	var mu sync.Mutex
	t.Run("cells", func(t *testing.T) {
		for _, of := range all {
			t.Run(of.String(), func(t *testing.T) {
				t.Parallel()
				weight := int64(1)
				if c.Weight != nil {
					weight = min(c.Weight(of), c.AtOnce)
				}
				if err := room.Acquire(context.WithoutCancel(t.Context()), weight); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { room.Release(weight) })
				var row R
				measured := false
				defer func() {
					switch {
					case measured:
					case t.Skipped():
						row = c.Failed(of, "left out")
					default:
						row = c.Failed(of, "it did not come to the fault")
					}
					mu.Lock()
					defer mu.Unlock()
					rows = append(rows, row)
					fmt.Printf("%5.0f s  %3d of %d  %-40s %s\n", time.Since(began).Seconds(), len(rows), len(all), of, c.Line(row))
				}()
				row = c.Measure(t, of)
				measured = true
			})
		}
	})
	return rows
}
