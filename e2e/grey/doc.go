// Package grey breaks replicas in ways that checks do not see, and measures who notices: dynmesh
// with its defaults, and routers by themselves. It holds tests only: `make grey` runs them and
// prints the tables of docs/benchmarks.md.
//
//	grey_test.go      which cells there are, which are run, how many at a time
//	fault_test.go     the fifteen faults, and what has to be said of each
//	fleet_test.go     one cell of dynmesh's: what its frontend says, and when
//	router_test.go    one cell of a router's: when requests stop to come to the replica that broke,
//	                  and do not where nothing breaks
//	oneway_test.go    a network that carries packets one way
//	saturate_test.go  a time of saturation, in which nobody may be named: by the frontend's history
//	select_test.go    tests of the choice of cells, and of the score
//	score_test.go     what counts as found, and the tables
//
// Engines, dynmesh and routers are started by e2e/rig.
package grey
