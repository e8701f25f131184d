package localetcd_test

import (
	"fmt"
	"strings"

	"github.com/dynmesh/dynmesh/discovery/localetcd"
)

func Example() {
	etcd, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.HasPrefix(etcd.Endpoint(), "http://127.0.0.1:"))
	fmt.Println(etcd.Close())
	// Output:
	// true
	// <nil>
}
