package dynmesh

import (
	"time"
)

// MemberState is what the pool believes of a member.
type MemberState string

// The states.
const (
	Alive   MemberState = "alive"
	Suspect MemberState = "suspect" // this member's own probe had no answer; the others are being asked
	Dead    MemberState = "dead"    // declared so: nobody could reach it, and it did not object in time
	Left    MemberState = "left"    // it said good-bye
)

// Member is one process in the pool, as this one sees it.
type Member struct {
	Observer
	Role    Role
	Addr    string // host:port of its gossip
	Service string // host:port of its requests; empty for a frontend
	Version string // of its program

	PublicKey string // by which others know what it says, as its record in a registry has it

	LeaseTTL time.Duration // of its registration; 0 where it has none
	State    MemberState
	Since    time.Time // when State began, by this process's clock
}

// GossipHealth is what the pool knows of itself.
type GossipHealth struct {
	Alive, Suspect, Dead int // members, this one among Alive
	Score                int // memberlist's health score: 0 is well, above it this process may be what is slow or cut off
	UDPDegraded          int // members that answer over TCP and not over UDP
	Unreported           int // foreign instances that are this member's to watch and that it has no room to report of

	Unproven int    // foreign workers that this member sends canaries, which do not reach them
	Obstacle string // why not, of one of them; one line of at most MaxDetail bytes

	Forged       int        // messages of late that were not signed by the members in whose names they came
	Impersonated InstanceID // one of those members

	NoKey string // why the registry has no gossip key to give, one line; empty: it has, or need not

	Stopped time.Duration // for how long this process did not run, some seconds ago at most; 0: it has run

	Shut bool // others do not reach this member's own port of gossip, though it reaches them

	Refused int    // addresses named by others of late to which this member does not connect
	Refusal string // the first of them, with the reason, such as "x:80 is a link-local address"

	Unresolved   int    // workers' names that could not be looked up of late, and had answered before
	Unresolvable string // the first of them, with the reason, such as "x:80 is a name without an address: no such host"
}

// GossipUpdate is what has changed since the last one was taken. Observations of members that are
// dead or gone stay until they are named in Withdrawn: whether to believe them is the reader's
// decision.
type GossipUpdate struct {
	Health       GossipHealth
	Members      []Member   // new ones, and those that changed
	Forgotten    []Observer // members that are not kept any longer; Members may have how they ended
	Observations []Observation
	Withdrawn    []ObservationKey
}

// Foreign says where a worker that is no member of the mesh is watched over the network. It is
// comparable, and its zero value says that it is not to be watched.
type Foreign struct {
	Addr string // host:port of its requests; empty: it is not to be watched

	// Idle says that a connection to Addr on which nothing is said costs the worker nothing. Where
	// each connection has a thread of its own, it may cost another client its turn.
	Idle bool

	System string // host:port of its system port, where it answers HTTP; empty: not known
	Serves Served // what a canary may ask of it through Dynamo's frontend
}

// Served is the model of one of Dynamo's instances, as far as a canary has to know it. It is
// comparable, and its zero value says that nothing is known.
type Served struct {
	Model   string // the name that requests use
	Request string // the kind of request that it answers: completions, chat or embeddings; empty: none that is known
	Prefill bool   // it answers no request of its own: it prefills for instances that need it
	Needs   bool   // it needs one that prefills

	FirstRank int // the lowest of its data-parallel ranks
	Ranks     int // how many of them there are; 0 is one that needs no name
}
