package cause_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/cause"
)

// Two of four workers cannot be reached, and they are those in rack r3.
func ExampleTable_Conclude() {
	now := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	t := cause.NewTable()
	for n, rack := range []string{"r3", "r3", "r4", "r4"} {
		w := cause.Worker{
			ID: dynmesh.InstanceID(n), Since: now.Add(-time.Minute),
			Labels: []cause.Label{{Name: "rack", Value: rack}, {Name: "zone", Value: "a"}},
		}
		if rack == "r3" {
			w.State = cause.Unreachable
		}
		t.Put(w)
	}
	t.Conclude(now)
	for _, c := range t.Causes() {
		fmt.Println(c)
	}
	// Output: rack r3: 2 of 2 unreachable
}
