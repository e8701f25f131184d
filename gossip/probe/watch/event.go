package watch

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// Kind is what happened to a watch.
type Kind uint8

// The kinds.
const (
	Tick           Kind = iota // time has passed
	Ponged                     // a ping was answered
	DialStarted                // the connection that Actions.DialGossip wanted is now being made
	GossipDialed               // it has ended, with an Outcome
	TripwireOpened             // Actions.OpenTripwire has ended, with an Outcome; Accepted: the tripwire is there
	TripwireClosed             // the tripwire was closed, and not by us
	ServiceDialed              // Actions.DialService has ended, with an Outcome
	ServiceClosed              // the connection that was Idle has ended, and not by us
	SystemAsked                // SystemAsks.Ask has ended: Accepted with any answer, TimedOut with none, Unreachable without a new connection
	SystemRead                 // SystemAsks.Read has ended
	Readdressed                // the port of requests is another one now, or is gone, or is there at last
	Inherited                  // the former watcher is lost, and nobody knows what became of the worker since then
	Spoke                      // a new word of the worker's, of itself, has come by others, or by a connection of its own
)

// Outcome is how an attempt to connect ended.
type Outcome uint8

// The outcomes.
const (
	Void        Outcome = iota // nothing can be said: it was cut short, or this process was late itself
	Accepted                   // there is a connection
	Refused                    // nothing listens there
	Unreachable                // the network, or this host, says that there is no way
	TimedOut                   // nothing came back
)

// String returns the outcome as a metric's label.
func (o Outcome) String() string {
	return [...]string{
		Void: "void", Accepted: "accepted", Refused: "refused", Unreachable: "unreachable", TimedOut: "timeout",
	}[o]
}

// Event is one thing that happened.
type Event struct {
	Kind      Kind
	Unhealthy bool // this process may be what is cut off or slow: what it does not hear says nothing
	Outcome   Outcome
	Idle      bool // ServiceDialed: the connection was accepted, and is kept

	Nonce uint64 // Ponged: that of the ping
	Other bool   // Ponged: it was another process that answered

	Service bool // Readdressed: there is a port of requests
}

// Attempts is how often to try to connect. One lost packet costs a connection a second, so that a
// single attempt that got nowhere says little.
type Attempts uint8

// The attempts.
const (
	None       Attempts = iota
	Once                // a single one
	Redial              // a single one, at the end of a connection that stood
	Burst               // some, one after the other, of which one is enough
	ShortBurst          // the same in less time, where silence has been noticed before
)

// Limits returns how many attempts there are at most, and within what time. What has one purpose
// only, and so None, is a single attempt.
func (a Attempts) Limits() (n int, within time.Duration) {
	switch a {
	case Redial:
		return 1, 100 * time.Millisecond
	case Burst:
		return 10, 3 * time.Second
	case ShortBurst:
		return 8, 800 * time.Millisecond
	}
	return 1, time.Second
}

// Actions are what is to be done after a step. Each of DialGossip, OpenTripwire and DialService is
// under way at most once for a watch.
type Actions struct {
	Ping          bool // send a packet with PingNonce
	PingNonce     uint64
	DialGossip    bool // connect to the port of gossip and hang up; where accepted, send StreamNonce by TCP
	StreamNonce   uint64
	OpenTripwire  bool
	CloseTripwire bool     // or end its opening, of whose end nothing is to be told then
	DialService   Attempts // to the port of requests
	Changed       bool     // the finding is another one

	Wake time.Duration // step again then
}

// Finding is what a watcher says of a worker.
type Finding struct {
	Finding dynmesh.Finding // Pass, Fail, or empty: nothing
	Reason  dynmesh.Reason  // of a Fail, or of a Pass whose port of gossip is cut off
	Detail  string
}
