// Package apiserver asks a Kubernetes API server. It is for the registry of discovery/kubernetes,
// and for the outputs of frontend/output/kubernetes; both bring client-go along through it, which
// says where the server is and as whom it is asked, and nothing else.
//
//	| client.go   | the connection, and one request                              |
//	| follower.go | lists one kind of objects, then watches it                   |
//	| page.go     | a part of a list, object by object                           |
//	| pod.go      | what is read of a pod, for whom its readiness gate concerns  |
//	| slice.go    | the label by which EndpointSlices of dynmesh's own are known |
//
// What client-go's informers do not give is why they are not used: they try again after up to 30 s,
// where here it is less than one, and do not say that they are out of touch. A server that vanishes
// without closing its connections answers no HTTP/2 ping, which shows within 10 s.
package apiserver
