package probe_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
)

// A member comes, is watched by an idle connection from then on, and answers its first ping.
func Example() {
	p := probe.New(1, false, 42)
	worker := probe.Member{
		Observer: dynmesh.Observer{ID: 7, Epoch: 1}, Alive: true, Addr: "10.0.0.7:7946",
	}
	do := p.Handle(probe.MemberChanged{Member: worker}, 0)
	fmt.Println("member 1 is to watch it:", p.Watches(7))
	tripwire := do.Dials[0]
	fmt.Println("first is a", tripwire.Kind)
	p.Handle(probe.DialEnded{Dial: tripwire, Outcome: watch.Accepted}, time.Millisecond)

	due := p.Next(time.Millisecond)
	do = p.Handle(probe.Tick{}, due)
	fmt.Println("a ping goes out to", do.Pings[0].To.ID)

	pong := probe.Ponged{From: worker.Observer, Nonce: do.Pings[0].Nonce}
	do = p.Handle(pong, due+time.Millisecond)
	fmt.Println("it can be reached:", do.Reports[0].Finding)

	do = p.Handle(probe.TripwireClosed{Dial: tripwire}, due+time.Second)
	fmt.Println("when the tripwire breaks it reports nothing yet:", len(do.Reports), "reports,", len(do.Dials), "dial")
	// Output:
	// member 1 is to watch it: true
	// first is a tripwire
	// a ping goes out to 7
	// it can be reached: pass
	// when the tripwire breaks it reports nothing yet: 0 reports, 1 dial
}
