// Package rig has what several benches of real processes stand on: an etcd, a frontend, workers
// before engines, the routers that dynmesh is compared with, and a choice of cells by environment
// variables. Tests import it: e2e/loss, e2e/grey, e2e/routing.
//
//	choose.go   which cells are run
//	cells.go    their measurement, so many at a time
//	load.go     requests, so many a second
//	fleet.go    dynmesh with its defaults, and mock engines
//	ask.go      addresses, and clients that ask once
//	tools.go    the programs that cells run
//	routers.go  Envoy, nginx, HAProxy, and routers for inference, each by itself
package rig
