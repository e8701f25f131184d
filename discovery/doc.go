// Package discovery says what a registry of instances is, whatever holds it.
//
//   - [Source] follows one registry and reports what is in it, as a sequence of updates.
//     discovery/etcd has one; sourcetest holds each against the contract.
//   - [DecodeInstance] and [DecodeMember] read the values that NVIDIA Dynamo and dynmesh write,
//     whatever they are kept in. [RejectSet] remembers what could not be read.
//   - [AdvertiseHost] finds the address under which others reach this process.
//
// It links the standard library, the root package and internal/text only, and anybody may use it.
package discovery
