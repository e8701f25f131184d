package address_test

import (
	"fmt"
	"net/netip"

	"github.com/dynmesh/dynmesh/internal/address"
)

func ExamplePolicy_Refusal() {
	for _, ip := range []string{"10.1.2.3", "127.0.0.1", "169.254.169.254"} {
		fmt.Printf("%s: %q\n", ip, address.Policy{}.Refusal(netip.MustParseAddr(ip), false))
	}
	// Output:
	// 10.1.2.3: ""
	// 127.0.0.1: "a loopback address, which means another host's own"
	// 169.254.169.254: "a link-local address"
}
