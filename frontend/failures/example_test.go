package failures_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/failures"
)

func Example() {
	key := dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}, ID: 1}
	said := func(sample string) dynmesh.Observation {
		return dynmesh.Observation{Report: dynmesh.Report{Sample: sample}}
	}
	var t failures.Table
	t.Take(key, "", said("3 of 6 within 30s"), time.Now())
	fmt.Printf("%q\n", t.Conclude(time.Now())[key])
	fmt.Println(len(t.Conclude(time.Now()))) // nothing is new
	t.Take(key, "", said(""), time.Now())
	over, ok := t.Conclude(time.Now())[key]
	fmt.Printf("%q %v\n", over, ok)
	t.Take(key, "", said("4 of 9 within 30s"), time.Now())
	t.Drop(key)
	fmt.Println(len(t.Conclude(time.Now())))
	// Output:
	// "fails: real requests, 3 of 6 within 30s"
	// 0
	// "" true
	// 0
}
