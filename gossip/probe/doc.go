// Package probe decides which members watch which others over the network, and what a watcher
// reports of them. It is pure: no clocks, no sockets, no goroutines. Package gossip runs it,
// package probe/dial connects for it, and package probe/watch concludes from what one watcher sees
// of one worker.
//
// A [Prober] is told what happens ([Event]) and answers with what is to be done ([Actions]). It
// never calls back: what follows from a report in the table of observations comes as a further
// event.
//
//	MemberChanged, MemberGone    who is there, and may watch
//	Reported                     who is said to be unreachable, and by whom
//	ForeignWatched               instances whose workers are no members (frontends only)
//	Ponged                       an answer to a ping
//	Spoke                        a member has said anew that it is there
//	Shut                         whether nothing reaches this member that reaches others
//	DialEnded, TripwireClosed    what became of a connection
//	Tick                         time has passed: [Prober.Next] says when it is due
//	Stop                         this member leaves: nothing is watched any longer
//
// An [Assignment] gives each worker two watchers, the same two in the opinion of all members that
// agree on who is there, and moves as little as it can when somebody comes or goes.
package probe
