package identity_test

import (
	"fmt"

	"github.com/dynmesh/dynmesh/gossip/identity"
)

// What somebody says in another's name does not hold.
func Example() {
	worker, forger := identity.New(), identity.New()
	word := []byte("I am well")

	v := identity.NewVerifier(nil)
	fmt.Println(v.Holds(worker.ID(), worker.Public(), word, worker.Sign(word)))
	fmt.Println(v.Holds(worker.ID(), forger.Public(), word, forger.Sign(word)))
	// Output:
	// true
	// false
}
