package probe

import (
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// Member is what a prober has to know of another member.
type Member struct {
	dynmesh.Observer
	Frontend bool   // it watches foreign instances, too
	Addr     string // host:port of its gossip
	Service  string // host:port of its requests; empty for none
	Alive    bool   // suspicion included
	Left     bool   // it said good-bye
}

// Event is something that happened.
type Event interface{ isEvent() }

type (
	// MemberChanged is a member that is new, has changed, or is alive no longer.
	MemberChanged struct{ Member Member }

	// MemberGone is the end of a member's incarnation after which no later one has come.
	MemberGone struct{ Observer dynmesh.Observer }

	// Reported is what a member, this one too, has concluded of another member's process.
	Reported struct {
		Observer, Subject dynmesh.InstanceID
		Failed            bool // it cannot be reached; false also where that is taken back
	}

	// ForeignWatched is where an instance is to be watched whose worker is no member.
	ForeignWatched struct {
		Subject dynmesh.Subject
		Foreign dynmesh.Foreign // zero: it is not to be watched any longer
	}

	// Ponged is an answer to a ping. Whoever answers in a worker's assignee does not know that it
	// was asked as another one: the nonce tells who was asked.
	Ponged struct {
		From  dynmesh.Observer
		Nonce uint64
	}

	// Spoke is a new word of a member's, of its own process. That it comes says that it is there.
	Spoke struct{ Observer dynmesh.Observer }

	// Shut says whether nothing reaches this member though it reaches others: then silence says
	// nothing of them. Where it reaches nobody either, all of them may well stand still.
	Shut bool

	// DialEnded is how one of [Actions].Dials ended. Of a connection that is kept TripwireClosed
	// follows.
	DialEnded struct {
		Dial    *Dial
		Outcome watch.Outcome
		Status  SystemStatus // of AskStatus, where Accepted
		Canary  CanaryResult // of SendCanary, in place of an Outcome
	}

	// TripwireClosed is the end of a connection that was kept: TimedOut where this host's kernel has
	// given it up, since nothing was heard of the other.
	TripwireClosed struct {
		Dial    *Dial
		Outcome watch.Outcome
	}

	// Tick says that time has passed.
	Tick struct{}

	// Stop ends all watching. What was reported stands.
	Stop struct{}
)

func (MemberChanged) isEvent()  {}
func (MemberGone) isEvent()     {}
func (Reported) isEvent()       {}
func (ForeignWatched) isEvent() {}
func (Ponged) isEvent()         {}
func (Spoke) isEvent()          {}
func (Shut) isEvent()           {}
func (DialEnded) isEvent()      {}
func (TripwireClosed) isEvent() {}
func (Tick) isEvent()           {}
func (Stop) isEvent()           {}

// Actions are what is to be done after an event, each list in its order.
type Actions struct {
	Reports  []dynmesh.Report // without At; with no Finding: what was said of the subject is taken back
	Pings    []Ping
	Dials    []*Dial // to be begun; each ends with DialEnded
	HangUps  []*Dial // tripwires to be closed, or not to be opened any longer
	Degraded []Degraded
}

// Ping is a ping to be sent. The answer comes the same way.
type Ping struct {
	To     dynmesh.Observer
	Nonce  uint64
	Stream bool // over TCP
}

// Degraded says whether a member answers over TCP and not over UDP.
type Degraded struct {
	Member   dynmesh.Observer
	Degraded bool
}

// DialKind is what a connection is for.
type DialKind uint8

// The kinds of connections.
const (
	DialGossip   DialKind = iota // whether the member's gossip accepts connections
	OpenTripwire                 // an idle connection that ends with the member's process
	DialService                  // whether the port of requests accepts connections
	AskSystem                    // whether the system port answers HTTP at all
	AskStatus                    // what it says
	SendCanary                   // whether the worker answers a request, sent through Dynamo's frontend
)

// String returns the kind as a metric's label.
func (k DialKind) String() string {
	return [...]string{DialGossip: "question", OpenTripwire: "tripwire", DialService: "requests", AskSystem: "system", AskStatus: "status", SendCanary: "canary"}[k]
}

// Dial is one connection to be made. Its pointer is its identity.
type Dial struct {
	Kind     DialKind
	Addr     string
	Attempts watch.Attempts // of DialService

	// Idle has an accepted connection of DialService stay open. The kernel gives it up when it has
	// heard nothing for twice as long as Silence.
	Idle    bool
	Silence time.Duration

	Engine, Health bool // of AskStatus: whether to ask for /engine/status, and for /health

	Canary Canary // of SendCanary, whose Addr is the worker's system port; empty: it is not known

	// One of them is whose it is.
	target   *target
	system   *system
	canaries *canaries

	nonce uint64                             // of DialGossip: of the ping that follows
	start timers.Timer[time.Duration, *Dial] // when its host is free, of a foreign one
}

// unwanted says that nobody wants to know any longer.
func (d *Dial) unwanted() bool {
	switch {
	case d.canaries != nil:
		return d.canaries.ended
	case d.system != nil:
		return d.system.ended
	}
	return d.target.ended || d.Kind == OpenTripwire && d.target.tripwire != d
}
