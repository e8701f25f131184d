// Package worker makes a process a worker: it serves endpoints over HTTP, keeps them registered in
// etcd, and says of itself whether it is ready.
//
// [Serve] is all that a program with one endpoint needs. A [Worker] is what it makes, for programs
// that want more of it.
//
// A [Worker] has two servers. The status server answers probes (/health, /live, /livez) and
// Prometheus (/metrics). The request server answers POST {root}/{endpoint}, streaming what the
// endpoint's [Handler] sends. Both are bound by [New], so that their addresses are true before
// [Worker.Run] serves them. Run also registers the endpoints, and when its context ends it stops
// all parts in an order that loses no request. With Config.Gossip the worker is a member of the
// mesh.
//
// Programs that serve inference use this package. What frontends conclude from it is not here, and
// the mock engine for demonstrations and tests is in worker/mocker.
package worker
