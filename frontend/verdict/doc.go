// Package verdict says whether an instance is ready, from all that a frontend knows of it, and
// why. It is for the frontend, and for whoever wants to know what it would conclude: [Of] is a
// pure function, without clocks, sockets and memory.
//
// Three kinds of evidence come together: that a registry lists the instance, mostly under a lease;
// what gossip says of its worker; and what was observed, by the worker itself (canaries, real
// requests) and by others over the network (paths). None of them is enough: a lease outlives its
// process by seconds, a process can be alive and its engine stuck, and a worker that thinks itself
// well can be out of everybody's reach.
//
// # How doubt is resolved
//
// Unreachable takes two: two watchers, or gossip with nobody against it. Whoever observed
// something is believed for as long as gossip counts them as alive, because an observation stands
// until its observer takes it back; a suspect's word counts for an instance, and not against one.
// What cannot be told is ready and not verified, never unreachable.
package verdict
