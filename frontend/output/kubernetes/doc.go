// Package kubernetes has the outputs for Kubernetes: EndpointSlices of Services without a selector,
// and readiness gates of pods. It is for the command. What they have written stands when dynmesh is
// gone.
//
//	output  | writes                          | follows
//	------- | ------------------------------- | -----------------------------------------------
//	Slices  | the slices that have its label  | these slices, and Services
//	Gates   | dynmesh.dev/ready in pods/status| pods
//
// # Who writes
//
// All frontends follow, and compare what there is with what they would have; one of them writes,
// who holds a Lease: as client-go's leaderelection writes it, whose package would add the types of
// all of Kubernetes to the program. The holder stops 7 s after its last renewal, and others begin
// when the Lease has not changed for 10 s. One that stops in order gives it back, and the next one
// writes within 2.4 s. One that may change nothing leaves it to others for 5 s, once. What another
// frontend has written is reported by all, once it is seen.
//
// # Slices
//
// An endpoint is a server with an IP address of its own, whatever its scheme: names cannot stand in
// slices. A slice has one address family, one port and at most 100 endpoints.
//
//	state          | ready | serving | terminating
//	-------------- | ----- | ------- | -----------
//	in, degraded   | true  | true    | false         slices have no weights
//	draining       | false | true    | true
//	out            | false | false   | false
//
// An endpoint stays in the slice where it is, so that a change writes one slice. A write names the
// version that it changes: where that is not the newest, it is refused, and what there is is
// compared again. Slices belong to their Service, with which the garbage collector takes them away.
//
// # Gates
//
// A pod's gate is False while something speaks against one of the servers in it, and otherwise
// True:
//
//	what is known of its servers                            gate
//	one is out or draining, and the floor holds none in     False
//	one would be out, and the floor holds one in            True
//	none is known                                           True
//	they are new, and nobody has said anything of them      True, or False if it was
//	nothing is decided yet                                  True if it was never written
//	else                                                    True
//
// A server is tied to a pod where the registry says so: that of discovery/kubernetes does, with its
// Config.ReadinessGate, so that a pod that is withdrawn stays listed and is seen to work again.
package kubernetes
