// Package output decides what those who route are told, and hands it to them. It is for the
// frontend, for dynmesh watch, and for whoever writes an output: it is pure, reads no clock, opens
// nothing and logs nothing.
//
//	Instance, Status, now ──► Policy ──► Assignment ──► Hub ──► Feed ──► an Output, one a router
//	                                                     ▲                   │
//	                                       Record ◄──────┴──── Applied ◄─────┘
//
// # The policy
//
// A [Target] is what serves one endpoint, or one model: servers, each of which is in, degraded,
// draining or out. [Policy.Decide] is the one place where that is decided, by these rules, the
// first of which
// fits. The last one is applied to what follows from the others:
//
//	not read yet, or workers not heard          nothing is said at all: a restart empties no list
//	the registry is stale                       nothing changes: nobody is withdrawn or added
//	this frontend doubts itself                 nothing changes
//	its worker drains                           draining, by its own word: not counted by the floor
//	it is new, and has not worked               out, and not counted: it was never in
//	unreachable or not ready                    out
//	remarked on, as Config.WithdrawOn has it    out
//	it was out, and works again                 out for 5 s more, twice as long with each relapse
//	ready, while its worker's last probe failed degraded: in, with half of the weight
//	ready                                       in
//	fewer than the floor would be in            all that are counted are in, and a warning says so
//
// The floor of a target is Config.MinHealthy, or what is expected of it where that is more. Where
// more than half of an endpoint is unreachable at once, it may be the frontend that is cut off, and
// that is as if the floor was not met. Where it is only for remarks that it is not met, those that
// are remarked on are in, and those that do not work stay out.
//
// An address stands once in a target, whatever leases say: of several instances at one, that counts
// which is best, and of equals the one that was registered last.
//
// # An output
//
// An [Output] is a folder below this one, and a line in cmd/dynmesh. The frontend runs it, hands it
// a [Feed], and joins it. What it reports with [Feed.Applied] is what /mesh, dynmesh explain, logs
// and metrics tell. A dry run needs nothing of an output: it is not run then.
package output
