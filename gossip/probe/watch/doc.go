// Package watch is what one watcher concludes of one worker from what it sees. It is pure: no
// clocks, no sockets, no goroutines. Package probe runs it.
//
// A [Member] is the view of a worker that is a member of the mesh. It rests on three signs:
//
//   - Heartbeats: small packets that the worker answers. They find what vanishes without a word.
//   - The tripwire: an idle connection, which the worker's kernel closes in the moment in which the
//     process dies. A closed one is no finding, since whatever is in between may close it, too: it
//     is a reason to verify at once.
//   - The port of requests, which must accept connections.
//
// Where the port of gossip alone is cut off, the first two say nothing. The worker then says by
// connections of its own that it is there, and is believed for as long as it goes on, and its port
// of requests accepts connections.
//
// The first two ask the same process, so a failure is never concluded from one packet or one
// connection. A [Member] verifies first. A failure is only one of these:
//
//   - the connection was refused, and not before while the worker answered;
//   - another process answered in the worker's place;
//   - nothing that was asked had an answer for long enough.
//
// A watcher that runs late itself, or that is unwell, has missed nothing.
//
// A [Foreign] is the view of an address of a worker that is no member. It has the third sign only.
package watch
