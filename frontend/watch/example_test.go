package watch_test

import (
	"fmt"

	"github.com/dynmesh/dynmesh/frontend/watch"
)

func ExampleNew() {
	_, err := watch.New(watch.Config{Template: "upstreams.tmpl"})
	fmt.Println(err)
	// Output: watch config: field Out: want the file that the template makes
}
