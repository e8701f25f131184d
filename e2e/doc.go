// Package e2e holds no code for others, only tests: dynmesh as people run it, as real processes
// against real etcd, with real faults.
//
// TestScenarios runs when asked (make e2e). Each program is a container on networks that a test
// makes for itself and removes; images are built from scratch out of binaries compiled here, so
// nothing is pulled. Where no docker engine answers, the same scenarios run on plain processes on
// loopback, and the output says so. The switches:
//
//   - DYNMESH_E2E=1 runs the scenarios.
//   - DYNMESH_E2E_DOCKER=require fails without a docker engine; =off uses processes even with one.
//   - DYNMESH_E2E_ETCD_IMAGE names an official etcd image to use in place of the one compiled from
//     go.mod's version.
//
// TestLaws, in every run of the tests, states what may import what, and the other laws of the
// house.
package e2e
