// Package gossip lets members of a mesh find each other, tell each other what they observed, and watch each other's
// workers over the network. It is for workers and frontends; what is to be concluded, the frontend decides.
//
// A [Pool] is one process's membership. What it says with [Pool.Observe] all others get to know, in well under a second as
// a rule, and in any case: what is lost comes with the next comparison. An observation is standing: it holds until its
// observer says something else, withdraws it, or is gone, so that only changes travel. The pool knows no more of their meaning
// than package table does, and it adds its own of other members' workers, as package path decides.
//
// Members are found by addresses that somebody else keeps ([Config].Seeds, etcd) or that are given ([Config].Join), and after that by
// themselves: who was cut off is tried again for an hour. Whoever is not there, etcd included, changes nothing for those who are.
//
// Underneath is memberlist with its LAN defaults: its failure detector, its packets, its encryption. It is used for
// what it is good at. Its queue of broadcasts loses messages, its push/pull would carry everything each time, and it tries nobody
// again whom it holds for dead; so the queue, the comparison and the rejoining are here. What it only says in its log,
// such as a suspicion, is read from there.
//
// One goroutine, the loop, owns all that the pool knows. memberlist and callers put into its inbox, which is bounded and
// never makes anybody wait; readers are given what has changed since they last asked.
package gossip
