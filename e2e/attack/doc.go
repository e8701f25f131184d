// Package attack has tests that attack real processes from outside, as strangers near them could,
// or take away what they rest on: memory, files, names, the clock. It has no code of its own. `make
// attack` runs it: the tests are skipped unless DYNMESH_ATTACK is set.
//
// The addresses that attack are of loopback. Nothing leaves this machine.
package attack
