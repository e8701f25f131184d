package budget_test

import (
	"fmt"
	"net/netip"

	"github.com/dynmesh/dynmesh/internal/budget"
)

// One client sends two large bodies slowly, and another one a small one: for that, the older of the
// two makes room.
func Example() {
	bodies := budget.New(100)
	slow, other := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	first := bodies.Claim(slow, func() { fmt.Println("the first body is dropped") })
	second := bodies.Claim(slow, func() { fmt.Println("the second body is dropped") })
	small := bodies.Claim(other, func() { fmt.Println("the small body is dropped") })
	fmt.Println(first.Grow(50), second.Grow(50))
	fmt.Println(small.Grow(10), bodies.Left())
	// Output:
	// true true
	// the first body is dropped
	// true 40
}
