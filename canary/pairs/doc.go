// Package pairs is what is known of pairs of engines: one that reads a prompt (it prefills), and
// one that writes the answer to it (it decodes). Either may be well, and still nothing come of a
// request that goes through both: the second cannot have what the first has read.
//
// Worker and frontend share it. All of it is pure: no clock, no socket, no goroutine.
//
//   - A [Scanner] finds out of a request that comes to the second who the first was ([Peer]).
//   - A [Sample] is what a worker tells of the pairs that it is in, in a line that gossip carries.
//   - [Request] and [Reply] are the canary of a pair, and [Meeting] is that of one of SGLang's.
package pairs
