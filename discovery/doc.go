// Package discovery keeps workers registered in etcd and tells frontends what is registered.
//
// It speaks NVIDIA Dynamo's wire format (keys, values and names under v1/instances/), so that workers and
// frontends of both kinds can share one etcd:
//
//   - [Registrar] holds one lease and the keys under it, and puts them back, under the same instance ID, whatever
//     happens to the lease, to the connection or to etcd itself. A worker owns one.
//   - [Watcher] lists what is registered and follows it, as a sequence of [Update] values that never show a
//     half-read state; on demand also what processes say of themselves. A frontend owns one.
//   - [SampleMembers] finds a few processes to begin with, for those who hear of the rest by gossip.
//   - [Endpoint], [Instance] and [Member] are the names and values themselves; they do no input or output.
//
// This package is the only home of the etcd client. The server for tests and for `dynmesh up` is in
// discovery/localetcd, so that programs using this package do not carry it.
package discovery
