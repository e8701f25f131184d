package plain_test

import (
	"fmt"

	"github.com/dynmesh/dynmesh/frontend/plain"
)

func ExampleText() {
	fmt.Println(plain.Text("dyn://dynamo.\x1b[2Jbackend.generate", 20))
	// Output: dyn://dynamo.?[2Jba…
}
