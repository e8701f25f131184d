// Package localetcd runs a real etcd of one node inside this process, on loopback.
//
// It is for `dynmesh up`, so that a first look at dynmesh needs nothing installed, and for tests,
// so that they meet etcd itself and not an imitation. Nobody else imports it: the server brings
// many dependencies that a program using dynmesh's packages must not carry. It has no TLS, no
// password and no peers, so it never listens beyond loopback.
package localetcd
