package table_test

import (
	"fmt"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// A worker tells what it found, a frontend learns it.
func Example() {
	worker := newTable(dynmesh.Observer{ID: 0x694d9b90, Epoch: 1})
	frontend := newTable(dynmesh.Observer{ID: 0x1234, Epoch: 1})

	said, err := worker.Observe(dynmesh.Report{
		Subject: dynmesh.Subject{ID: 0x694d9b90, Endpoint: generate},
		Kind:    dynmesh.KindCanary, Finding: dynmesh.Fail, Reason: dynmesh.ReasonTimeout,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var toSend table.BroadcastQueue
	toSend.Add(said.Entries...)

	for _, packet := range toSend.Packet(0, 1200, 2) {
		learnt, err := frontend.Merge(packet)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, o := range learnt.Set {
			fmt.Println(o.Observer.ID, "says of", o.Subject.Endpoint, o.Kind, o.Finding, o.Reason)
		}
	}
	// Output: 694d9b90 says of dyn://dynamo.backend.generate canary fail timeout
}
