package path

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// Kind is what happened to a [Watch].
type Kind uint8

// The kinds.
const (
	Tick        Kind = iota // time has passed
	Ponged                  // a ping was answered
	Asking                  // the connection that Actions.Ask wanted is now being made
	Asked                   // it has ended, with an Outcome
	Opened                  // Actions.Open has ended, with an Outcome; Accepted: the tripwire is there
	Tripped                 // the tripwire was closed, and not by us
	Connected               // Actions.Connect has ended, with an Outcome
	Readdressed             // the port of requests is another one now, or there is none any longer, or there is one at last
	Inherited               // who watched the worker before is lost, and what became of the worker since then nobody knows
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

// Event is one thing that happened.
type Event struct {
	Kind    Kind
	Unwell  bool // this process may be what is cut off or slow: what it does not hear says nothing
	Outcome Outcome

	Nonce uint64 // Ponged: that of the ping
	Other bool   // Ponged: it was another process that answered

	Service bool // Readdressed: there is a port of requests
}

// Effort is how hard to try to connect.
type Effort uint8

// The efforts. One lost packet costs a connection a second, so that a single attempt that got nowhere says little.
const (
	None  Effort = iota
	Once         // one attempt, of a second
	Burst        // ten attempts within three seconds, of which one is enough
)

// Actions are what is to be done after a step. Each of Ask, Open and Connect is under way at most once for a watch.
type Actions struct {
	Ping    bool   // send a packet with the nonce Pinged
	Pinged  uint64 //
	Ask     bool   // connect to the port of gossip within a second, hang up, and if that went well send a ping with AskedBy by TCP
	AskedBy uint64 //
	Open    bool   // open the tripwire
	Close   bool   // close it, or end its opening, of whose end nothing is to be told then
	Connect Effort // to the port of requests
	Changed bool   // the finding is another one

	Wake time.Duration // step again then
}

// Finding is what a watcher says of a worker.
type Finding struct {
	Finding dynmesh.Finding // Pass, Fail, or empty: nothing
	Reason  dynmesh.Reason  // of a Fail
	Detail  string
}
