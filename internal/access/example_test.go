package access_test

import (
	"fmt"

	"github.com/dynmesh/dynmesh/internal/access"
)

func ExampleEqual() {
	fmt.Println(access.Equal("bearer secret", "secret"), access.Equal("Bearer guess", "secret"), access.Equal("Bearer ", ""))
	// Output: true false false
}
