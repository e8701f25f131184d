// Package etcd keeps workers registered in etcd and follows what is registered there. It speaks
// NVIDIA Dynamo's wire format (keys and values under v1/instances/), so that workers and frontends
// of both kinds can share one etcd.
//
//   - [Registrar] holds one lease and the keys under it, and puts them back under the same instance
//     ID, whatever happens to the lease, to the connection or to etcd itself. A worker owns one.
//   - [Watcher] is the discovery.Source for etcd. A frontend owns one.
//   - [SampleMembers] finds a few processes to begin with, for those who hear of the rest by
//     gossip.
//
// # Inside
//
//	file         | what                                                    | goroutine
//	------------ | ------------------------------------------------------- | --------------
//	client.go    | a client that is replaced after each failure            | its owner's
//	keyspace.go  | pure: what a read or an event changes, what is believed | –
//	follower.go  | reads a range of keys, then watches it, over and over   | one
//	             | the prober that tells whether the watch works           | one
//	watcher.go   | two followers, decoded into one sequence of updates     | –
//	lease.go     | pure: what a registrar does next; and its calls         | –
//	registrar.go | the loop that does it                                   | Run's
//
// This package is the only home of the etcd client. The server for tests and for `dynmesh up` is in
// discovery/localetcd, so that programs using this package do not carry it.
package etcd
