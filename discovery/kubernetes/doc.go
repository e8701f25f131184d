// Package kubernetes follows the workers that Kubernetes knows: those of Dynamo's operator, and the
// pods behind any Service. Frontends in a cluster, or with a kubeconfig, make a [Source] with
// [New]. It reads two kinds of objects in one namespace, or three, and writes nothing.
//
//	object                                  | read for
//	--------------------------------------- | -----------------------------------------------
//	DynamoWorkerMetadata                    | a Dynamo worker's endpoints and model cards
//	EndpointSlice, labelled for Dynamo      | which of them are ready
//	EndpointSlice, of Services by selector  | engines without Dynamo, ready or not
//	Pod, with Config.ReadinessGate          | which are ready but for dynmesh's own gate
//
// # Which are listed
//
// A Dynamo worker is listed as Dynamo's own frontend lists it: if a labelled slice has its pod,
// ready, with the uid that owns its metadata. Slices that name a pod with two uids exclude it. Its
// ID follows from the pod's name, so that a restart in the same pod keeps it; the pod's uid and its
// transport tell the lives apart. A pod of a Service is listed as long as the Service has it, and
// what Kubernetes thinks of it is shown. Slices that dynmesh itself writes are left out, and a pod
// that it has withdrawn by its readiness gate (frontend/output/kubernetes) stays listed: else
// nobody would see when it works again.
//
// # Out of touch
//
// An API server that is away changes nothing: what was known stays listed, and is stale after 5 s.
// Each kind is listed and then watched, from the last version on while the server has it. The
// first list comes from the server's cache, in one piece; later ones must not be older than what is
// known (package internal/apiserver).
//
//	file         | what                                             | goroutine
//	------------ | ------------------------------------------------ | ----------------
//	objects.go   | what is read of an object                        | –
//	join.go      | pure: objects into instances and cards           | –
//	source.go    | one sequence of updates                          | Run's, and one each kind
package kubernetes
