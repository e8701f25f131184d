package pace_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/pace"
	"github.com/dynmesh/dynmesh/internal/speed"
)

// Three workers tell every 15 s how long their tokens took. The third one takes twice as long.
func ExampleTable() {
	now := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	table := pace.NewTable()
	for range 3 {
		now = now.Add(15 * time.Second)
		for id, token := range []time.Duration{20 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond} {
			sample := speed.Sample{Window: 15 * time.Second, Running: 8}
			sample.Took[speed.Token] = speed.Mean{Count: 6000, Took: token}
			table.Take(dynmesh.InstanceKey{ID: dynmesh.InstanceID(id)}, "llama-70b", dynmesh.Observation{Report: dynmesh.Report{Sample: sample.Encode()}}, now)
		}
		for key, text := range table.Conclude(now) {
			fmt.Println(key.ID, text)
		}
	}
	// Output: 2 slow: 2.0 × its peers at equal load since 2026-11-29T10:00:00.000Z: 40ms a token, expected 20ms
}
