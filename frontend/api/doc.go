// Package api serves a frontend's snapshots over HTTP and gRPC. It is for the frontend alone: its
// loop makes snapshots and calls [Server.Publish]; the rest is here.
//
// A request loads the newest snapshot and writes shared bytes. It takes no lock, copies no body,
// and never waits for the loop: /live goes on answering whatever happens to registries, to the
// workers and to the rest.
//
// # Routes
//
// GET and HEAD only: /live, /health (their paths are settings), /ready, /metrics, /sd/prometheus,
// /events (docs/events.md) and /mesh, with less in it at /mesh/{namespace}.{component}.{endpoint}
// and …/{instance id}; and the page of package web at /. Every other path answers 404, every other
// method 405, both in JSON. grpc.health.v1 has a port of its own, if it is wanted. All of them tell
// the state of one snapshot, whose version /mesh and /events show. Only /history and /mesh?at= tell
// what was: they read files (package history), a few at a time.
//
// # Goroutines
//
//   - the HTTP server's, one a connection
//   - two compressors, which add the gzip forms to the newest snapshot afterwards, so that
//     compressing never delays a change
//   - the broadcaster, which renders what has changed for those who listen to /events, at most ten
//     times a second, once for all of them, and not at all from a minute after the last one left
//   - gRPC's
//
// # What slow clients cost
//
// An answer that is being sent keeps its bytes in memory, also after a newer snapshot has replaced
// it. Two bounds hold: an answer must be read within 30 s, and when clients together keep more than
// 256 MiB of what is not in the newest one, the connections that read the oldest ones are closed.
// Everybody else notices nothing.
//
// What is rendered for /events is held in a ring, bounded in bytes, from which each stream takes
// what it has not sent yet: there is no queue for a client, and one that is behind the ring is told
// to begin anew. The HTTP server hands such connections over, so a stream is one goroutine that
// writes shared bytes to the socket. Streams end first at a shutdown.
package api
