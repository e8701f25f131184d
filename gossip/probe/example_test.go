package probe_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
)

// A member comes, answers its first ping, and is watched by an idle connection from then on.
func Example() {
	p := probe.New(1, false, 42)
	worker := probe.Member{
		Observer: dynmesh.Observer{ID: 7, Epoch: 1}, Worker: true, Alive: true, Addr: "10.0.0.7:7946",
	}
	p.Handle(probe.MemberChanged{Member: worker}, 0)
	fmt.Println("member 1 is to watch it:", p.Watches(7))

	due := p.Next(0)
	do := p.Handle(probe.Tick{}, due)
	fmt.Println("a ping goes out to", do.Pings[0].To.ID)

	pong := probe.Ponged{From: worker.Observer, Nonce: do.Pings[0].Nonce}
	do = p.Handle(pong, due+time.Millisecond)
	fmt.Println("it can be reached:", do.Reports[0].Finding)
	fmt.Println("next is a", do.Dials[0].Purpose)

	p.Handle(probe.DialEnded{Dial: do.Dials[0], Outcome: watch.Accepted}, due+2*time.Millisecond)
	do = p.Handle(probe.TripwireClosed{Dial: do.Dials[0]}, due+time.Second)
	fmt.Println("when that breaks it reports nothing yet:", len(do.Reports), "reports,", len(do.Dials), "dial")
	// Output:
	// member 1 is to watch it: true
	// a ping goes out to 7
	// it can be reached: pass
	// next is a tripwire
	// when that breaks it reports nothing yet: 0 reports, 1 dial
}
