// Package path decides which members watch which workers over the network, and what a watcher concludes from what it sees.
// It is pure: no clocks, no sockets, no goroutines. Package gossip runs it.
//
// An [Assignment] gives each worker two watchers, the same two in the opinion of all members that agree on who is there, and
// moves as little as it can when somebody comes or goes.
//
// A [Watch] is one watcher's view of one worker. It lives on three signs:
//
//   - Heartbeats: small packets that the worker answers. They find what vanishes without a word.
//   - The tripwire: an idle connection, which the worker's kernel closes in the moment in which the process dies. A closed one is
//     no finding, since whatever is in between may close it, too: it is a reason to look again at once.
//   - The port of requests, which must accept connections.
//
// Two of them ask the same process, so a finding of failure is never drawn from one packet or one connection: a [Watch] checks
// first, and nothing but "refused", another process in its place, or silence of all it asked for long enough, is a failure.
// A watcher that runs late itself, or that is unwell, has missed nothing.
package path
