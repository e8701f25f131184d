package failures_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/pairs"
	"github.com/dynmesh/dynmesh/frontend/failures"
)

// nobody is a fleet in which nobody is known but who speaks.
type nobody struct{}

func (nobody) Find(pairs.Peer, dynmesh.InstanceKey) (key dynmesh.InstanceKey, ok bool) {
	return key, false
}

func (nobody) State(dynmesh.InstanceKey) dynmesh.VerdictState { return dynmesh.Ready }

func (nobody) Ready(dynmesh.InstanceKey) int { return 4 }

func Example() {
	key := dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}, ID: 1}
	said := func(sample string) dynmesh.Observation {
		return dynmesh.Observation{Report: dynmesh.Report{Sample: sample}}
	}
	t := failures.NewTable(nobody{})
	t.Take(key, "", said("3 of 6 within 30s"), time.Now())
	fmt.Printf("%q\n", t.Conclude(time.Now())[key])
	fmt.Println(len(t.Conclude(time.Now()))) // nothing is new
	t.Take(key, "", said("5 of 5 whose prompt prefill-0 read fail, 0 of 6 of others, within 30s"), time.Now())
	fmt.Printf("%q\n", t.Conclude(time.Now())[key])
	t.Take(key, "", said(""), time.Now())
	over, ok := t.Conclude(time.Now())[key]
	fmt.Printf("%q %v\n", over, ok)
	t.Take(key, "", said("4 of 9 within 30s"), time.Now())
	t.Drop(key)
	fmt.Println(len(t.Conclude(time.Now())))
	// Output:
	// "fails: real requests, 3 of 6 within 30s"
	// 0
	// "pair: prefill prefill-0 → this one: 5 of 5 fail, 0 of 6 of others, within 30s"
	// "" true
	// 0
}
