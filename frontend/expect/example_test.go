package expect_test

import (
	"fmt"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
)

// Three workers are expected, two are registered, and one of them does not answer.
func ExampleEvaluate() {
	expected, err := expect.Parse("dyn://dynamo.backend.generate >= 3")
	if err != nil {
		panic(err)
	}
	r := expect.Evaluate(expected, expect.View{
		Discovery: dynmesh.Synced,
		Endpoints: []expect.Endpoint{{Name: "dyn://dynamo.backend.generate", Instances: []expect.Instance{
			{ID: 0x694d9b90ff8deb4b, Verdict: dynmesh.Ready, Verified: true, Registered: true},
			{ID: 0x5f0c3bd2a7e91b44, Verdict: dynmesh.Unreachable, Registered: true},
		}}},
	})
	fmt.Println(r)
	// Output: not ready: dyn://dynamo.backend.generate: 1 of 3 ready: 1 unreachable (5f0c3bd2a7e91b44), 1 missing (ready: 694d9b90ff8deb4b)
}

func ExampleParse() {
	_, err := expect.Parse("dyn://dynamo.prefill.generate>=14,dyn://dynamo.backend>=1")
	fmt.Println(err)
	// Output:
	// at character 55, ">=1": want . and the endpoint: a name has three parts
}
