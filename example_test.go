package dynmesh_test

import (
	"fmt"

	"github.com/dynmesh/dynmesh"
)

func ExampleParseEndpoint() {
	_, err := dynmesh.ParseEndpoint("dyn://dynamo.back end.generate")
	fmt.Println(err)
	// Output: endpoint "dyn://dynamo.back end.generate": component name "back end" has the character ' ': want A-Z a-z 0-9 _ - only
}
