// Package meshkey is the gossip keys that etcd keeps for all members of a mesh, at [Path]. It is
// for package etcd.
//
//	what       | who
//	---------- | -------------------------------------------------------------------
//	[Value]    | the keys, and where a rotation of them stands (pure)
//	[Keeper]   | a member: puts a key where there is none, and follows what is there
//	[Rotation] | dynmesh keygen --rotate: replaces the key while all members gossip
//
// The entry has no lease: it outlives all members. The first that may write it puts a random key
// there, in a transaction that fails where somebody was faster; nobody overwrites it but a
// rotation. Where it is deleted, members put back what they have, so that nobody is cut off; in
// place, too, of what one has made there meanwhile that knew none.
//
// No key ever stands in an error, in the log, or in what [Value] prints.
package meshkey
