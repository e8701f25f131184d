package path_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh/gossip/path"
)

// Who watches a worker, and what is to be done first.
func Example() {
	a := path.NewAssignment(1)
	a.Join(2)
	fmt.Println("we are to watch 7:", a.Add(7))
	a.Add(2)
	fmt.Println("nobody watches itself:", a.Of(2))

	w := path.NewMember(42, true, 0)
	w, do := w.Step(path.Event{}, 0)
	w, do = w.Step(path.Event{}, do.Wake)
	fmt.Println("a heartbeat goes out:", do.Ping)

	w, do = w.Step(path.Event{Kind: path.Ponged, Nonce: do.Pinged}, do.Wake-time.Millisecond)
	fmt.Println("it was answered; a tripwire and its port of requests are next:", do.Open, do.Connect == path.Once)

	w, do = w.Step(path.Event{Kind: path.Connected, Outcome: path.Accepted}, do.Wake)
	fmt.Println("what is said changes:", do.Changed, w.Finding().Finding)
	// Output:
	// we are to watch 7: true
	// nobody watches itself: [1]
	// a heartbeat goes out: true
	// it was answered; a tripwire and its port of requests are next: true true
	// what is said changes: true pass
}
