// Package xds tells Envoys and gRPC's clients where to send requests, over xDS: state of the world
// and delta, aggregated or a type a stream. A program makes a [Server] with [New] and gives it to a
// frontend, which runs it. Only the command links it.
//
//	resource              | name                                   | for
//	--------------------- | -------------------------------------- | ---------------------------
//	ClusterLoadAssignment | dyn://ns.comp.ep, model/NAME           | all
//	Cluster               | the same                               | each kind its own settings
//	RouteConfiguration    | the same; for Envoy dynmesh            | a header names the cluster
//	Listener              | the same; for Envoy dynmesh, at :10000 | gRPC's target xds:///NAME
//
// Whether a client is gRPC's or an Envoy is told by its node's user agent.
//
// # When it is away
//
// A client that has lost all its frontends keeps what it was told last, and asks again. A server
// that does not know yet what is registered refuses streams, so that clients stay with what they
// have, or ask another frontend. An assignment is content alone: another frontend of the same
// opinion sends a delta client nothing.
//
// # Strangers
//
// Streams, connections, the size of requests and what a stream makes the server remember are
// bounded. A client that does not read holds its own stream and nobody else's. Who may ask, by
// Config.Access, reads the addresses of workers, and changes nothing.
//
//	file         | what                                          | goroutine
//	------------ | --------------------------------------------- | ---------------------------------
//	resources.go | pure: a cluster into resources                | –
//	caches.go    | what clients see, and the order of changes    | Run's
//	server.go    | listener, bounds, stop                        | gRPC's: some a stream
package xds
