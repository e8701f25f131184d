// Package kubernetes tries dynmesh on a real Kubernetes: an etcd, its API server, the controllers
// that make and collect objects, and a kubelet without containers, beside a real Dynamo in its
// Kubernetes mode. It holds tests only.
//
// DYNMESH_KUBERNETES=1 runs them. Kubernetes is compiled first, at the version of build_test.go,
// into bin/engines (package install): a quarter of an hour, once. Pods are objects, which the
// kubelet says are ready; their workers are processes on this machine.
//
//	| build_test.go      | the programs                                                     |
//	| plane_test.go      | what runs them: certificates, tokens, one that can be broken     |
//	| api_test.go        | requests to the API server, and what it has noted of others'     |
//	| fleet_test.go      | pods with workers, frontends of dynmesh and of Dynamo            |
//	| kubernetes_test.go | one cluster, step by step                                        |
//	| outputs_test.go    | readiness gates and EndpointSlices that dynmesh writes           |
//	| proxy_test.go      | requests through a real kube-proxy, in a network of their own    |
//	| thousands_test.go  | ten thousand workers                                             |
package kubernetes
