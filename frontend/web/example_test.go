package web_test

import (
	"fmt"

	"github.com/dynmesh/dynmesh/frontend/web"
)

func Example() {
	b := web.NewBundle()
	fmt.Println(b.Index("12 ready of 12 registered").Type)
	fmt.Println(b.Files["main.js"].Type)
	// Output:
	// text/html; charset=utf-8
	// text/javascript; charset=utf-8
}
