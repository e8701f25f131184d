// Package gossip lets members of a mesh find each other, tell each other what they observed, and
// watch each other's workers over the network. It is for workers and frontends; what to conclude,
// the frontend decides.
//
// A [Pool] is one process's membership. What it says with [Pool.Observe] all others get to know,
// within well under a second as a rule. What is lost comes with the next comparison. An observation
// is standing: it holds until its observer says something else, withdraws it, or is gone, so that
// only changes travel. The pool adds observations of its own about other members' workers.
//
// What it is made of:
//
//   - table: what members said, one mergeable table, its digests and the queue of broadcasts (pure)
//   - identity: the key that a member signs with, and the ID that follows from it (pure)
//   - probe: who watches whom, and what a watcher reports (pure); probe/dial connects for it
//   - swim: memberlist behind a transport of our own, the only home of memberlist
//   - this package: the loop that owns all that the pool knows, anti-entropy, joining
//
// Members are found by addresses that somebody else keeps ([Config].Seeds, etcd) or that are given
// ([Config].Join), and after that by themselves: who was cut off is tried again for an hour.
// Whoever is not there, etcd included, changes nothing for those who are.
//
// memberlist is used for what it is good at. Its queue of broadcasts loses messages, its push/pull
// would carry everything each time, and it never again tries a member that it holds for dead; so
// the queue, the comparison and the rejoining are here.
//
// One goroutine, the loop, owns all that the pool knows. memberlist and callers put into its inbox,
// which is bounded and never makes anybody wait; readers are given what has changed since they last
// asked.
package gossip
