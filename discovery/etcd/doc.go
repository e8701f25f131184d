// Package etcd keeps workers registered in etcd and follows what is registered there. It speaks
// NVIDIA Dynamo's wire format, so that workers and frontends of both kinds can share one etcd.
//
//	bucket                 | holds                              | who writes it
//	---------------------- | ---------------------------------- | ----------------------------------
//	v1/dynmesh/instances/  | instances                          | dynmesh's workers
//	v1/dynmesh/members/    | what processes say of themselves   | dynmesh's workers and frontends
//	v1/dynmesh/mesh        | the gossip keys of all members     | the first that may; rotations
//	v1/instances/          | instances, of the same form        | Dynamo's workers; [BucketDynamo]
//	v1/mdc/                | model cards                        | Dynamo's workers, and nobody else
//
// What there is:
//
//   - [Registrar] holds one lease and the keys under it, and puts them back under the same instance
//     ID, whatever happens to the lease, to the connection or to etcd itself. A worker owns one.
//   - [Watcher] is the discovery.Source for etcd. A frontend owns one.
//   - [RotateKeys] replaces the gossip key that all members share; package meshkey has the steps.
//   - [SampleMembers] finds a few processes to begin with, for those who hear of the rest by
//     gossip.
//
// # Inside
//
//	file         | what                                                    | goroutine
//	------------ | ------------------------------------------------------- | --------------
//	client.go    | a client that is replaced after each failure            | its owner's
//	keyspace.go  | pure: what a read or an event changes, what is believed | –
//	follower.go  | reads ranges of keys, then watches them, over and over  | one
//	             | the prober that tells whether the watch works           | one
//	watcher.go   | three followers, decoded into one sequence of updates   | –
//	lease.go     | pure: what a registrar does next; and its calls         | –
//	registrar.go | the loop that does it                                   | Run's
//	             | a follower: the process's own key, the mesh's keys      | one
//	members.go   | reads of members, each bounded                          | –
//
// This package is the only home of the etcd client. The server for tests and for `dynmesh up` is in
// discovery/localetcd, so that programs using this package do not carry it.
package etcd
