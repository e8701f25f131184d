// Package dynamo steers NVIDIA Dynamo's own router: it is an [output.Output] for the frontend.
//
// Dynamo's frontends route to each instance whose key stands in etcd, in v1/instances/, and drop
// one within milliseconds whose key is gone. So a worker that is dead, frozen or failing is
// withdrawn by moving its key into a journal, and put back by moving it the other way. How a key
// moves, and why nothing is lost in between, is [etcd.Withdrawals]'s to say; package output decides
// who is out; this package leads from the one to the other:
//
//	file        | what
//	----------- | -------------------------------------------------------------
//	steps.go    | pure: what to do, by what is decided and what stands in etcd
//	steering.go | the loop that does it, and reports
//
// Nothing else of Dynamo's is touched. Model cards stay, so that a model whose workers are
// withdrawn is known on.
package dynamo
