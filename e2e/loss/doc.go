// Package loss counts what clients lose while one of several replicas is killed, freezes, hangs,
// fails or becomes slow, behind routers that know of it by themselves and behind the same routers
// steered by dynmesh, all with the defaults of dynmesh and in one run. It holds tests only: `make
// loss` runs them and prints the tables of docs/benchmarks.md.
//
//	loss_test.go      which cells there are, which are run, how many at a time
//	cell_test.go      one cell: replicas, a router, requests, a fault
//	fault_test.go     what is done to a replica, and how much may be lost
//	load_test.go      requests, and what became of them
//	replicas_test.go  engines, and workers before them
//	routers_test.go   which routers there are, and how dynmesh steers some
//	table_test.go     what is printed
//
// Routers by themselves, dynmesh and engines are started by e2e/rig.
package loss
